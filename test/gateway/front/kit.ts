/** A front with a log that the test decides about. */
import mqtt, { type IClientOptions, type MqttClient } from 'mqtt'
import { pino } from 'pino'
import { onTestFinished } from 'vitest'
import { Front, type FrontOptions } from '../../../gateway/src/front/front.js'
import { LocalCore } from '../../../gateway/src/front/local-core.js'
import { Presence } from '../../../gateway/src/front/presence.js'
import type { AppendReceiver, FrameLog } from '../../../gateway/src/log/frame-log.js'
import type { FrameInPlace, FrameKind } from '../../../gateway/src/log/frames.js'

interface Waiting {
  readonly kind: FrameKind
  readonly deviceId: string
  readonly payload: string
  readonly receiver: AppendReceiver
  readonly token: number
}

/** A log that keeps frames waiting until it is told what to say. */
export class SlowLog implements FrameLog {
  isFull = false
  readonly frames: Waiting[] = []
  /** All that was appended, as `kind deviceId payload`. */
  readonly appended: string[] = []

  appendFor(kind: FrameKind, deviceId: string, payload: Uint8Array, receiver: AppendReceiver, token: number): void {
    this.frames.push({ kind, deviceId, payload: Buffer.from(payload).toString(), receiver, token })
    this.appended.push(`${kind} ${deviceId} ${Buffer.from(payload).toString('latin1')}`)
  }

  appendFrom({ kind, bytes, idStart, idEnd, payloadStart, payloadEnd }: FrameInPlace, receiver: AppendReceiver, token: number): void {
    const deviceId = Buffer.from(bytes.subarray(idStart, idEnd)).toString('latin1')
    this.appendFor(kind, deviceId, bytes.subarray(payloadStart, payloadEnd), receiver, token)
  }

  answer(error: Error | null): void {
    for (const { receiver, token } of this.frames.splice(0)) receiver.settled(error, 1, token, performance.now())
  }

  /** Answers all that comes, every few milliseconds, until the test has finished or the returned function is called. */
  answerAlways(): () => void {
    const answering = setInterval(() => this.answer(null), 5)
    onTestFinished(() => clearInterval(answering))
    return () => clearInterval(answering)
  }
}

export interface StartedFront {
  readonly log: SlowLog
  readonly front: Front
  readonly presence: Presence
  readonly port: number
  connect(clientId: string, will?: string, options?: IClientOptions): Promise<MqttClient>
}

export async function startFront(options: Partial<FrontOptions> = {}, log = new SlowLog()): Promise<StartedFront> {
  const presence = new Presence()
  const core = new LocalCore(log, presence)
  const front = await Front.create(core, pino({ level: 'silent' }), { connectionsMax: 1000, lightSessions: true, relays: [], ...options })
  core.front = front
  const port = await front.listen('127.0.0.1', 0)
  onTestFinished(async () => {
    const stop = log.answerAlways()
    await front.close()
    stop()
  })
  return {
    log,
    front,
    presence,
    port,
    async connect(clientId, will, options = {}) {
      const status = { topic: `tm/1/${clientId}/status`, qos: 1 as const, retain: true }
      const willed = will === undefined ? {} : { will: { ...status, payload: Buffer.from(will) } }
      const client = await mqtt.connectAsync(`mqtt://127.0.0.1:${port}`, { clientId, reconnectPeriod: 0, ...willed, ...options })
      client.on('error', () => {})
      onTestFinished(() => {
        client.end(true)
      })
      return client
    }
  }
}
