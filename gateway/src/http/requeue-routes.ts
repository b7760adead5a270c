/**
 * Takes the frames of a requeue, from this machine only: whoever posts them has read the archive. They go into the log as one entry,
 * between starts where other profiles are to judge them. The processor counts no reading twice, whatever comes here; what it would
 * not look at is refused, so that whoever asks learns of it.
 */
import { isDeviceId, type Profile, profileDigest } from '@tidemark/protocol'
import type { ZodTypeProvider } from 'fastify-type-provider-zod'
import { z } from 'zod'
import { type Frame, readFrames } from '../log/frames.js'
import { decodeControl } from '../processor/control.js'
import { decodeRequeue, isCurrent, type Requeue, type RequeueMark } from '../processor/requeue.js'
import { binaryBody } from './binary-body.js'
import { failures, HttpError } from './http-error.js'
import type { Routes } from './http-server.js'

export const REQUEUE_PATH = '/v1/quarantine/requeue'

export const requeuedSchema = z.object({
  messages: z.int().describe('that the processor has judged'),
  entry: z.int().describe('the entry of the log that they are in')
})

/** What the route needs of the gateway. */
export interface RequeueTarget {
  /** The profiles in force. */
  readonly profiles: readonly Profile[]
  /** As of the log's present end. */
  mark(): Promise<RequeueMark>
  /** The last entry of the log. */
  readonly lastEntry: number
  /**
   * Resolves with the entry when the frames are durable and applied, all of them together. `profiles`: those that are to judge
   * them; null: those in force.
   */
  append(frames: readonly Pick<Frame, 'deviceId' | 'payload'>[], profiles: readonly Profile[] | null): Promise<number>
}

/** Bytes of one body: an entry of a requeue, a start ahead of it, and the frame that went over. */
const BODY_BYTES_MAX = 8 * 1024 * 1024

const LOOPBACK = /^(127\.|::1$|::ffff:127\.)/

interface Parsed {
  readonly frames: readonly Pick<Frame, 'deviceId' | 'payload'>[]
  readonly first: Requeue
  readonly profiles: readonly Profile[] | null
}

export function requeueRoutes(target: RequeueTarget): Routes {
  let turn: Promise<unknown> = Promise.resolve()
  return app => {
    app.register(async scope => {
      scope.addContentTypeParser('application/octet-stream', { parseAs: 'buffer', bodyLimit: BODY_BYTES_MAX }, (_request, body, done) =>
        done(null, body)
      )
      const schema = {
        summary: 'Gives quarantined messages to the processor again; for the command "quarantine requeue", from this machine',
        consumes: ['application/octet-stream'],
        body: binaryBody('frames as they lie in an entry of the log'),
        response: { 200: requeuedSchema, ...failures(403, 409, 413, 415, 503) }
      }
      scope.withTypeProvider<ZodTypeProvider>().post(REQUEUE_PATH, { schema, bodyLimit: BODY_BYTES_MAX }, async ({ body, ip }) => {
        if (!LOOPBACK.test(ip)) throw new HttpError(403, 'forbidden', 'a requeue is taken from this machine only: run the command there')
        const parsed = parse(body)
        const done = turn.then(() => take(target, parsed)) // one after the other: each must see the one before
        turn = done.catch(() => {})
        return await done
      })
    })
  }
}

async function take(target: RequeueTarget, { frames, first, profiles }: Parsed): Promise<z.output<typeof requeuedSchema>> {
  if (first.asOfEntry > target.lastEntry)
    throw new HttpError(400, 'invalid-request', 'the archive that was read is not that of this gateway')
  if (!isCurrent(first, await target.mark())) {
    const message = 'an earlier requeue is in the log and what it resolved is not written out yet: requeue again after the next flush'
    throw new HttpError(409, 'requeue-pending', message)
  }
  const others = profiles === null || areSame(profiles, target.profiles) ? null : profiles
  return { messages: frames.length, entry: await target.append(frames, others) }
}

/** Throws an `HttpError` where the body is no list of the frames of one run, in their order, behind a start or none. */
function parse(body: Uint8Array): Parsed {
  const frames: Pick<Frame, 'deviceId' | 'payload'>[] = []
  let profiles: readonly Profile[] | null = null
  let first: Requeue | null = null
  try {
    let last: Requeue | null = null
    for (const { kind, deviceId, payload } of readFrames(body)) {
      if (kind === 'control' && frames.length === 0 && profiles === null) {
        const control = decodeControl(payload)
        if (control.control !== 'start') throw new Error(`a control frame "${control.control}" is no part of a requeue`)
        profiles = control.profiles
        continue
      }
      if (kind !== 'requeue' || !isDeviceId(deviceId)) throw new Error(`a frame "${kind}" of "${deviceId}" is no part of a requeue`)
      const frame = decodeRequeue(payload)
      if (last !== null && !isBehind(frame, last)) throw new Error('its frames are not those of one run, in their order')
      first ??= frame
      last = frame
      frames.push({ deviceId, payload })
    }
  } catch (error) {
    throw new HttpError(400, 'invalid-request', `the body is no requeue: ${error instanceof Error ? error.message : error}`)
  }
  if (first === null) throw new HttpError(400, 'invalid-request', 'the body is no requeue: it holds no message')
  return { frames, first, profiles }
}

function isBehind(frame: Requeue, last: Requeue): boolean {
  if (frame.run !== last.run || frame.asOfEntry !== last.asOfEntry) return false
  return frame.entry > last.entry || (frame.entry === last.entry && frame.frameIndex > last.frameIndex)
}

function areSame(some: readonly Profile[], others: readonly Profile[]): boolean {
  const keysOf = (profiles: readonly Profile[]) => JSON.stringify(profiles.map(profileDigest).sort())
  return keysOf(some) === keysOf(others)
}
