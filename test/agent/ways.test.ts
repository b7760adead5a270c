/** The ways to a gateway: several brokers, HTTP where MQTT does not get through, and how fast. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { runAgent } from '../../agent/src/agent.js'
import type { Config } from '../../agent/src/config.js'
import { RateLimit } from '../../agent/src/core/rate-limit.js'
import { Sqlite } from '../../agent/src/sqlite.js'
import { readStatus } from '../../agent/src/status.js'
import { freePort } from '../kit/free-port.js'
import { TestHttpServer } from './http-server.js'
import { replayConfigRead, silent, TestBroker, temporaryFolder, until } from './kit.js'

const range = (first: number, last: number) => Array.from({ length: last - first + 1 }, (_, i) => first + i)

function run(config: Config, once = true) {
  const stopping = new AbortController()
  const done = runAgent(config, { once, agentVersion: 'test', log: silent, signal: stopping.signal })
  return {
    done,
    stop: () => {
      stopping.abort()
      return done
    }
  }
}

const nobody = async () => `mqtt://127.0.0.1:${await freePort()}`

async function agentOf(rows: number, gateway: object, changes: object = {}): Promise<Config> {
  return replayConfigRead(await temporaryFolder(), rows, 'mqtt://unused', { gateway, ...changes })
}

describe('several brokers', () => {
  test('the first that lets in is used', async () => {
    const broker = await TestBroker.start()
    await run(await agentOf(120, { urls: [await nobody(), broker.url] })).done
    expect(broker.seqs).toEqual(range(1, 120))
  })

  test('one that connects and takes nothing makes way for the next; what was acked stays acked', async () => {
    const [bad, good] = [await TestBroker.start(), await TestBroker.start()]
    bad.judge = () => 'close'
    await run(await agentOf(120, { urls: [bad.url, good.url] })).done
    expect([...new Set(good.seqs)]).toEqual(range(1, 120))
    expect(good.batches.flatMap(({ batch }) => batch.tombstones)).toEqual([])
  })
})

describe('HTTP', () => {
  const http = async (url: string) => ({ url: await nobody(), http: url, http_after: '0s' })

  test('takes the batches where MQTT does not get through: the same bytes, deleted once they are durable', async () => {
    const server = await TestHttpServer.start()
    const config = await agentOf(1234, await http(server.url.replace('://', '://pump:open%20sesame@')))
    await run(config).done
    expect([...server.seqs].sort((a, b) => a - b)).toEqual(range(1, 1234))
    expect(server.posted[0]).toMatchObject({
      device: 'pump-7',
      contentType: 'application/msgpack',
      authorization: `Basic ${Buffer.from('pump:open sesame').toString('base64')}`
    })
    expect(server.posted.at(-1)?.batch.endOfStreamSeq).toBe(1234)
    expect(readStatus(config.bufferPath, 0)).toMatchObject({ settled: 1234, buffered: 0 })
  })

  test('that is busy is asked again, and nothing is lost or refused', async () => {
    const server = await TestHttpServer.start()
    let answers = 0
    server.judge = () => ({ status: ++answers % 2 === 1 ? [503, 429, 500][answers % 3] : 204, retryAfter: '0' })
    const config = await agentOf(200, await http(server.url), {
      publish: { batch_readings: 50, in_flight: 1, backoff: { min: '1ms', max: '2ms' } }
    })
    await run(config).done
    expect([...new Set(server.seqs)]).toEqual(range(1, 200))
    expect(server.posted.flatMap(({ batch }) => batch.tombstones)).toEqual([])
  })

  test('that will not have one reading gets all others', async () => {
    const server = await TestHttpServer.start()
    server.judge = batch => ({ status: batch.header.seqs.includes(77) ? 413 : 204 })
    const config = await agentOf(100, await http(server.url), {
      publish: { batch_readings: 50, in_flight: 2, backoff: { min: '1ms', max: '2ms' } }
    })
    await run(config).done
    expect([...new Set(server.seqs)].sort((a, b) => a - b)).toEqual(range(1, 100).filter(seq => seq !== 77))
    expect(server.posted.flatMap(({ batch }) => batch.tombstones)[0]).toMatchObject({ firstSeq: 77, lastSeq: 77, reason: 'refused' })
  })

  test('gives way to MQTT as soon as that is up, and each reading arrives', async () => {
    const [server, broker] = [await TestHttpServer.start(), await TestBroker.start()]
    await broker.stop()
    const publish = { batch_readings: 10, in_flight: 1, backoff: { min: '5ms', max: '5ms' }, max_rate: '2000/s' }
    const config = await agentOf(2000, { url: broker.url, http: server.url, http_after: '0s' }, { publish })
    const agent = run(config)
    await until(() => server.seqs.length > 0)
    await broker.restart()
    await agent.done
    expect(broker.seqs.length).toBeGreaterThan(0)
    expect([...new Set([...server.seqs, ...broker.seqs])].sort((a, b) => a - b)).toEqual(range(1, 2000))
  })

  test('that is not configured is not used', async () => {
    const config = await agentOf(10, { url: await nobody() })
    const agent = run(config, false)
    await until(() => existsSync(config.bufferPath) && readStatus(config.bufferPath, 0).last_error !== null)
    await agent.stop()
    expect(readStatus(config.bufferPath, 0).last_error).toMatch(/nothing listens at mqtt:/)
  })
})

describe('the rate', () => {
  test('a second of it may go at once, and then no more than it, whatever the batches are', () => {
    for (const [unit, batch] of [['readings', 7] as const, ['bytes', 130] as const]) {
      const limit = new RateLimit()
      limit.set('configured', { unit, perSecond: 100 }, 0)
      let [sent, nowMs] = [0, 0]
      while (nowMs < 60_000) {
        const waitMs = limit.waitMs(nowMs)
        nowMs += waitMs
        if (waitMs > 0) continue
        limit.spend(unit === 'readings' ? batch : 1, unit === 'bytes' ? batch : 1)
        sent += batch
      }
      expect(sent).toBeGreaterThanOrEqual(100 * 60)
      expect(sent).toBeLessThanOrEqual(100 * 61 + batch)
    }
  })

  test('of several rates the least holds, and one that is lifted holds no more', () => {
    const limit = new RateLimit()
    expect([limit.waitMs(0), limit.batchReadingsMax]).toEqual([0, Number.POSITIVE_INFINITY])
    limit.set('configured', { unit: 'readings', perSecond: 100 }, 0)
    limit.set('granted', { unit: 'readings', perSecond: 10 }, 0)
    limit.spend(20, 0)
    expect(limit.batchReadingsMax).toBe(10)
    expect(limit.waitMs(0)).toBe(1100)
    limit.set('granted', { unit: 'readings', perSecond: 100 }, 0)
    expect(limit.waitMs(0)).toBe(110) // still owed
    limit.set('granted', { unit: 'readings', perSecond: 5 }, 0, 60)
    expect(limit.batchReadingsMax).toBe(60)
    limit.set('granted', null, 0)
    expect(limit.waitMs(0)).toBe(0)
  })

  test('that the gateway grants holds until it is lifted', async () => {
    const broker = await TestBroker.start()
    const folder = await temporaryFolder()
    const config = await replayConfigRead(folder, 3000, broker.url, { publish: { batch_readings: 50, in_flight: 1 } })
    broker.judge = () => 'hold'
    const agent = run(config)
    await until(() => broker.batches.length === 1)
    broker.tell('tm/1/pump-7/ack', { max_rate: '1/s' })
    broker.tell('tm/1/pump-7/ack', { max_rate: 'nonsense' })
    broker.tell('tm/1/pump-7/config', { revision: 1 })
    await until(() => broker.statuses.at(-1)?.state === 'online' && broker.statuses.length === 2)
    broker.judge = () => 'ack'
    broker.release()
    await until(() => broker.batches.length === 2)
    expect(broker.batches[1].batch.header.seqs.length).toBe(50) // however low the rate: it is the next that waits
    for (const statuses of [3, 4]) {
      broker.tell('tm/1/pump-7/config', { revision: statuses })
      await until(() => broker.statuses.length === statuses)
    }
    expect(broker.batches).toHaveLength(2)
    broker.tell('tm/1/pump-7/ack', { max_rate: null })
    await agent.done
    expect(broker.seqs).toEqual(range(1, 3000))
    expect(existsSync(join(folder, 'buffer.sqlite'))).toBe(true)
  })
})

describe('the configuration from the gateway', () => {
  test('is applied live, answered in the status, and refused with a reason when it is none', async () => {
    const broker = await TestBroker.start()
    const folder = await temporaryFolder()
    const config = await replayConfigRead(folder, 0, broker.url, {
      profile: 'rotating-machine',
      source: { type: 'simulated' },
      interval: '1h',
      buffer: { path: 'buffer.sqlite', durability: 'spill' }
    })
    const agent = run(config, false)
    await until(() => broker.seqs.length === 1)
    broker.tell('tm/1/pump-7/config', { revision: 3, interval: '10ms', commit_interval: '1s', max_rate: '5000/s', log_level: 'silent' })
    await until(() => broker.seqs.length > 5)
    expect(broker.statuses.at(-1)).toMatchObject({ state: 'online', config: { revision: 3 } })
    const answers: [object, RegExp][] = [
      [{ revision: 4, interval: '1ms' }, /interval: must be between 10 ms/],
      [{ revision: 5, intervall: '1s' }, /Unrecognized key: "intervall"/],
      [{ revision: 6, max_rate: 'fast' }, /max_rate: write readings a second/]
    ]
    for (const [i, [payload, refused]] of answers.entries()) {
      broker.tell('tm/1/pump-7/config', payload)
      await until(() => broker.statuses.length === 3 + i)
      expect(broker.statuses.at(-1)).toMatchObject({ config: { revision: 4 + i, refused: expect.stringMatching(refused) } })
    }
    const before = broker.seqs.length
    await until(() => broker.seqs.length > before + 5) // a refused one changes nothing
    await agent.stop()
    expect(broker.seqs).toEqual(range(1, broker.seqs.length))
  })

  test('says from then on how long a reading may stay unwritten', async () => {
    const broker = await TestBroker.start()
    const buffer = { path: 'buffer.sqlite', durability: 'spill', commit_interval: '1h' }
    const live = { profile: 'rotating-machine', source: { type: 'simulated' }, interval: '10ms' }
    const config = await replayConfigRead(await temporaryFolder(), 0, broker.url, { ...live, buffer })
    const agent = run(config, false)
    await until(() => broker.seqs.length > 5)
    broker.judge = () => 'hold'
    const { length } = broker.batches
    await until(() => broker.batches.length > length)
    const file = new Sqlite(config.bufferPath, { readonly: true })
    const stored = () => file.prepare<[], number>('SELECT count(*) FROM chunks').pluck().get()!
    expect(stored()).toBe(0)
    broker.tell('tm/1/pump-7/config', { revision: 1, commit_interval: '100ms' })
    await until(() => stored() > 0)
    file.close()
    broker.judge = () => 'ack'
    broker.release()
    await agent.stop()
  })

  test('that cannot hold for this device is refused', async () => {
    const broker = await TestBroker.start()
    const agent = run(await agentOf(3, { url: broker.url }), false)
    await until(() => broker.seqs.length === 3)
    broker.tell('tm/1/pump-7/config', { revision: 1, interval: '5s' })
    await until(() => broker.statuses.length === 2)
    expect(broker.statuses[1]).toMatchObject({ config: { revision: 1, refused: 'interval: a recording has its own times' } })
    broker.tell('tm/1/pump-7/config', { revision: 2, commit_interval: '5s' })
    await until(() => broker.statuses.length === 3)
    expect(broker.statuses[2]).toMatchObject({ config: { revision: 2, refused: expect.stringMatching(/durability strict/) } })
    await agent.stop()
  })
})
