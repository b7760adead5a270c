/** Both ends of the link between a front and the core, over a socket, with a log that the test decides about. */
import { connect, createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { CoreLink } from '../../../gateway/src/front/core-link.js'
import { FrontLink } from '../../../gateway/src/front/front-link.js'
import { Presence } from '../../../gateway/src/front/presence.js'
import type { AppendReceiver, PackedLog } from '../../../gateway/src/log/frame-log.js'
import { readFrames } from '../../../gateway/src/log/frames.js'
import { tempDir } from '../../kit/temp-dir.js'
import { until } from '../../kit/until.js'

/** Keeps packed frames until it is told what to say. */
class SlowPackedLog implements PackedLog {
  isFull = false
  readonly appended: string[] = []
  private readonly waiting: { receiver: AppendReceiver; token: number }[] = []

  appendPacked(frames: Uint8Array, receiver: AppendReceiver, token: number): void {
    this.appended.push(...[...readFrames(frames)].map(({ kind, deviceId, payload }) => `${kind} ${deviceId} ${Buffer.from(payload)}`))
    this.waiting.push({ receiver, token })
  }

  answer(error: Error | null): void {
    for (const { receiver, token } of this.waiting.splice(0)) receiver.settled(error, 1, token, 0)
  }
}

interface Linked {
  readonly log: SlowPackedLog
  readonly presence: Presence
  readonly core: CoreLink
  /** What became of the frames, by token. */
  readonly settled: Map<number, string>
  append(kind: 'batch' | 'status', payload: string, token: number): void
}

async function link(): Promise<Linked> {
  const path = join(tempDir(), 'link.sock')
  const server = createServer()
  await new Promise<void>(resolve => server.listen(path, resolve))
  const accepted = new Promise<Socket>(resolve => server.once('connection', resolve))
  const own = connect(path)
  const other = await accepted
  onTestFinished(() => {
    own.destroy()
    other.destroy()
    server.close()
  })
  const log = new SlowPackedLog()
  const presence = new Presence()
  new FrontLink(other, log, presence)
  const core = new CoreLink(own)
  const settled = new Map<number, string>()
  const receiver: AppendReceiver = { settled: (error, _entry, token) => settled.set(token, error?.message ?? 'durable') }
  return {
    log,
    presence,
    core,
    settled,
    append: (kind, payload, token) => core.appendFor(kind, 'a', Buffer.from(payload), receiver, token)
  }
}

const birth = (session: string) => JSON.stringify({ state: 'online', session, epoch: 1, agent: '', profiles: [] })
const death = (session: string) => JSON.stringify({ state: 'offline', session })

test('nothing is settled before the log says so, and then all of it', async () => {
  const { log, settled, append } = await link()
  for (let token = 0; token < 10; token++) append('batch', `reading ${token}`, token)
  await until('the frames', () => log.appended.length === 10)
  expect(settled.size).toBe(0)
  log.answer(null)
  await until('all to be settled', () => settled.size === 10)
  expect(new Set(settled.values())).toEqual(new Set(['durable']))
})

test('a busy front hands on all of it in order, and goes on when it is quiet again', async () => {
  const { log, settled, append } = await link()
  let token = 0
  const beganMs = performance.now()
  while (performance.now() - beganMs < 400) {
    for (let n = 0; n < 20; n++) append('batch', `reading ${token}`, token++)
    await new Promise(resolve => setImmediate(resolve))
  }
  await new Promise(resolve => setTimeout(resolve, 150))
  append('batch', `reading ${token}`, token++)
  await until('the frames', () => log.appended.length === token)
  expect(log.appended).toEqual(Array.from({ length: token }, (_, n) => `batch a reading ${n}`))
  log.answer(null)
  await until('all to be settled', () => settled.size === token)
})

test('what the log refuses is refused, and what comes later may be durable', async () => {
  const { log, settled, append } = await link()
  append('batch', 'first', 1)
  await until('the first', () => log.appended.length === 1)
  append('batch', 'second', 2)
  await until('the second', () => log.appended.length === 2)
  log.answer(new Error('disk full'))
  await until('both to be settled', () => settled.size === 2)
  append('batch', 'third', 3)
  await until('the third', () => log.appended.length === 3)
  log.answer(null)
  await until('the third to be settled', () => settled.size === 3)
  expect([...settled]).toEqual([
    [1, 'disk full'],
    [2, 'disk full'],
    [3, 'durable']
  ])
})

test('the death of an earlier session is taken out of its wave, and the others stay', async () => {
  const { log, presence, settled, append } = await link()
  append('status', birth('old'), 1)
  append('status', birth('new'), 2)
  append('batch', 'before', 3)
  append('status', death('old'), 4)
  append('batch', 'behind', 5)
  await until('the frames', () => log.appended.length === 4)
  expect([...presence.kept('tm/1/a/status')]).toEqual([]) // nothing is durable yet
  log.answer(null)
  await until('all to be settled', () => settled.size === 5)
  expect(log.appended).toEqual([`status a ${birth('old')}`, `status a ${birth('new')}`, 'batch a before', 'batch a behind'])
  expect([...settled].filter(([, what]) => what !== 'durable')).toEqual([[4, 'the death of an earlier session']])
  expect([...presence.kept('tm/1/a/status')].map(({ payload }) => Buffer.from(payload).toString())).toEqual([birth('new')])
})

test('a wave of which nothing is left is settled in its turn', async () => {
  const { log, settled, append } = await link()
  append('status', birth('new'), 1)
  await until('the birth', () => log.appended.length === 1)
  append('status', death('old'), 2) // a wave of its own, while that of the birth waits
  append('status', death('older'), 3)
  await new Promise(resolve => setImmediate(resolve))
  append('batch', 'behind', 4)
  await until('what is behind', () => log.appended.length === 2)
  expect(settled.size).toBe(0)
  log.answer(null)
  await until('all to be settled', () => settled.size === 4)
  append('status', death('old'), 5) // and one with nothing before it
  await until('it to be settled', () => settled.size === 5)
  expect([settled.get(1), settled.get(4)]).toEqual(['durable', 'durable'])
  for (const token of [2, 3, 5]) expect(settled.get(token)).toBe('the death of an earlier session')
})

test('while the log is full the front is not read, and says that it is full before it holds more than it may', async () => {
  const { log, core, settled, append } = await link()
  log.isFull = true
  append('batch', 'small', 0)
  await until('the core to have read it', () => log.appended.length === 1)
  const payload = 'x'.repeat(100_000)
  let sent = 1
  while (!core.isFull) append('batch', payload, sent++)
  expect(sent * payload.length).toBeLessThan(17 * 1024 * 1024)
  await new Promise(resolve => setImmediate(resolve))
  expect(log.appended).toHaveLength(1)
  log.isFull = false
  await until('the core to have read all', () => log.appended.length === sent)
  log.answer(null)
  await until('all to be settled', () => settled.size === sent)
  expect(core.isFull).toBe(false)
})
