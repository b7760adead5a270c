import { existsSync } from 'node:fs'
import { join } from 'node:path'
import type { Batch } from '@tidemark/protocol'
import { describe, expect, test } from 'vitest'
import { runAgent } from '../../agent/src/agent.js'
import type { Config } from '../../agent/src/config.js'
import { readStatus } from '../../agent/src/status.js'
import { openBuffer, replayConfigRead, silent, TestBroker, temporaryFolder, until } from './kit.js'

const range = (first: number, last: number) => Array.from({ length: last - first + 1 }, (_, i) => first + i)

/** Runs an agent in this process until it ends or `stop` is called. */
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

async function agentOf(rows: number, broker: TestBroker, changes: object = {}) {
  const folder = await temporaryFolder()
  return replayConfigRead(folder, rows, broker.url, changes)
}

describe('a replay that meets no trouble', () => {
  test('arrives whole, in order, once, with headers that are true, and ends with the end-of-stream mark', async () => {
    const broker = await TestBroker.start()
    const config = await agentOf(1234, broker)
    await run(config).done
    expect(broker.seqs).toEqual(range(1, 1234))
    for (const { batch } of broker.batches) {
      const { seqs, oldestHeldSeq, highestSampledSeq, buffered } = batch.header
      expect(seqs.length).toBeLessThanOrEqual(50)
      expect(oldestHeldSeq).toBeLessThanOrEqual(seqs[0] ?? highestSampledSeq + 1)
      expect(buffered).toBe(highestSampledSeq - oldestHeldSeq + 1)
    }
    const values = broker.batches.flatMap(({ batch }) => [...(batch.columns[0]?.values ?? [])])
    expect(values).toEqual(range(1, 1234).map(i => i / 1e4))
    const mark = broker.batches.at(-1)!.batch
    expect(mark).toMatchObject({ endOfStreamSeq: 1234, header: { oldestHeldSeq: 1235, highestSampledSeq: 1234, buffered: 0 } })
    expect(mark.header.seqs).toHaveLength(0)
    expect(readStatus(config.bufferPath, 0)).toMatchObject({ sampled: 1234, settled: 1234, buffered: 0, source_ended: true })
  })

  test('says hello and goodbye on its status topic, with the same session', async () => {
    const broker = await TestBroker.start()
    await run(await agentOf(3, broker)).done
    expect(broker.statuses).toMatchObject([
      { state: 'online', agent: 'test', profiles: [{ name: 'water-loop', version: 1 }] },
      { state: 'offline', session: broker.statuses[0].session }
    ])
  })

  test('of an empty recording has nothing to say', async () => {
    const broker = await TestBroker.start()
    await run(await agentOf(0, broker)).done
    expect(broker.batches).toEqual([])
  })

  test('that is run again says again where the stream ends, and nothing else', async () => {
    const broker = await TestBroker.start()
    const config = await agentOf(120, broker)
    await run(config).done
    await run(config).done
    expect(broker.seqs).toEqual(range(1, 120))
    expect(broker.batches.filter(({ batch }) => batch.endOfStreamSeq === 120)).toHaveLength(2)
  })
})

describe('what is in flight', () => {
  test('never exceeds the window, and is deleted only after its PUBACK', async () => {
    const broker = await TestBroker.start()
    broker.judge = () => 'hold'
    const config = await agentOf(1000, broker)
    const agent = run(config)
    await until(() => broker.batches.length === 4 && readStatus(config.bufferPath, 0).sampled === 1000)
    await agent.stop()
    expect(broker.seqs).toEqual(range(1, 200))
    expect(readStatus(config.bufferPath, 0)).toMatchObject({ buffered: 1000, settled: 0 })
  })

  test('may be acked in any order, and is deleted from the oldest end', async () => {
    const broker = await TestBroker.start()
    broker.judge = () => 'hold'
    const config = await agentOf(1000, broker)
    const agent = run(config)
    await until(() => broker.batches.length === 4)
    broker.judge = () => 'ack'
    broker.release('newest-first')
    await agent.done
    expect(broker.seqs).toEqual(range(1, 1000))
  })

  test('goes out again, oldest first, when the connection is lost, and nothing is skipped', async () => {
    const broker = await TestBroker.start()
    broker.judge = () => 'hold'
    const agent = run(await agentOf(1000, broker))
    await until(() => broker.batches.length === 4)
    broker.judge = () => 'ack'
    broker.dropConnections()
    await agent.done
    expect(broker.seqs).toEqual([...range(1, 200), ...range(1, 1000)])
  })

  test('is encoded anew when it goes out again: the header tells what is true then', async () => {
    const broker = await TestBroker.start()
    broker.judge = batch => (batch.header.seqs[0] === 1 ? 'ack' : 'hold')
    const config = await agentOf(400, broker)
    const agent = run(config)
    await until(() => existsSync(config.bufferPath) && readStatus(config.bufferPath, 0).settled === 50)
    broker.judge = () => 'ack'
    broker.dropConnections()
    await agent.done
    const again = broker.batches.filter(({ batch }) => batch.header.seqs[0] === 51).map(({ batch }) => batch.header.oldestHeldSeq)
    expect(again).toEqual([1, 51])
  })

  test('survives a gateway that is away for a while', async () => {
    const broker = await TestBroker.start()
    broker.judge = () => 'hold'
    const agent = run(await agentOf(300, broker))
    await until(() => broker.batches.length === 4)
    await broker.stop()
    broker.judge = () => 'ack'
    await broker.restart()
    await agent.done
    expect([...new Set(broker.seqs)]).toEqual(range(1, 300))
  })
})

describe('a gateway that wants a password', () => {
  test('gets it from the URL', async () => {
    const broker = await TestBroker.start()
    broker.password = 'open sesame'
    const folder = await temporaryFolder()
    await run(await replayConfigRead(folder, 3, broker.url.replace('://', '://pump:open%20sesame@'))).done
    expect(broker.seqs).toEqual([1, 2, 3])
  })

  test('and gets another one refuses, which status tells, and the agent goes on trying', async () => {
    const broker = await TestBroker.start()
    broker.password = 'open sesame'
    const config = await agentOf(3, broker)
    const agent = run(config)
    await until(() => existsSync(config.bufferPath) && readStatus(config.bufferPath, 0).last_error !== null)
    expect(readStatus(config.bufferPath, 0).last_error).toMatch(/the gateway refuses user or password/)
    broker.password = null
    await agent.done
    expect(broker.seqs).toEqual([1, 2, 3])
  })
})

describe('a device that vanishes', () => {
  test('is declared offline by its will, with the session of its birth', async () => {
    const broker = await TestBroker.start()
    const agent = run(await agentOf(3, broker), false)
    await until(() => broker.seqs.length === 3)
    broker.dropConnections()
    await until(() => broker.statuses.filter(status => status.state === 'online').length === 2)
    await agent.stop()
    const [birth, ...rest] = broker.statuses
    expect(rest.filter(status => status.state === 'offline' && status.session === birth.session)).toHaveLength(1)
    expect(new Set(broker.statuses.map(status => status.session)).size).toBe(2)
  })
})

describe('a batch that the gateway refuses', () => {
  const holds = (batch: Batch, seq: number) => batch.header.seqs.includes(seq)

  test('is halved until only the bad reading is left, which is shed on the record; all others arrive', async () => {
    const broker = await TestBroker.start()
    broker.judge = batch => (holds(batch, 77) ? 'close' : 'ack')
    const config = await agentOf(200, broker, { publish: { batch_readings: 50, in_flight: 4, backoff: { min: '1ms', max: '2ms' } } })
    await run(config).done
    expect([...new Set(broker.seqs)].sort((a, b) => a - b)).toEqual(range(1, 200).filter(seq => seq !== 77))
    const tombstones = broker.batches.flatMap(({ batch }) => batch.tombstones)
    expect(tombstones[0]).toEqual({ firstSeq: 77, lastSeq: 77, keepEvery: 0, reason: 'refused' })
    // Nobody is told that 77 is settled before the tombstone is: it would be taken for missing.
    const declared = broker.batches.findIndex(({ batch }) => batch.tombstones.length > 0)
    for (const { batch } of broker.batches.slice(0, declared)) expect(batch.header.oldestHeldSeq).toBeLessThanOrEqual(77)
    expect(readStatus(config.bufferPath, 0)).toMatchObject({ buffered: 0, tombstones_to_declare: 0 })
  })

  test('is kept when the gateway takes nothing at all', async () => {
    const broker = await TestBroker.start()
    let closed = 0
    broker.judge = () => {
      closed++
      return 'close'
    }
    const config = await agentOf(1, broker, { publish: { backoff: { min: '1ms', max: '1ms' } } })
    const agent = run(config)
    await until(() => closed > 60)
    broker.judge = () => 'ack'
    await agent.done
    expect(broker.seqs).toEqual([1])
    expect(broker.batches.flatMap(({ batch }) => batch.tombstones)).toEqual([])
  })
})

describe('tombstones', () => {
  test('ride along until they are acked, and the seqs around them arrive', async () => {
    const broker = await TestBroker.start()
    const folder = await temporaryFolder()
    const config = await replayConfigRead(folder, 300, broker.url)
    const buffer = openBuffer(config.bufferPath)
    buffer.append({
      profile: config.profile,
      entries: [{ shed: 'unreadable' }, { shed: 'unreadable' }],
      source: null,
      nulledValues: 0,
      eventTimeMs: null
    })
    buffer.close()
    broker.judge = () => 'hold'
    const agent = run(config)
    await until(() => broker.batches.length === 4)
    broker.judge = () => 'ack'
    broker.dropConnections()
    await agent.done
    const carried = broker.batches.map(({ batch }) => batch.tombstones.length)
    expect(carried.slice(0, 5)).toEqual([1, 1, 1, 1, 1])
    expect(carried.at(-1)).toBe(0)
    expect([...new Set(broker.seqs)]).toEqual(range(3, 302))
    expect(broker.batches.at(-1)!.batch.endOfStreamSeq).toBe(302)
  })

  test('more than a batch holds are declared by as many as it takes, and the oldest held seq waits for them', async () => {
    const broker = await TestBroker.start()
    const folder = await temporaryFolder()
    const config = await replayConfigRead(folder, 10, broker.url)
    const buffer = openBuffer(config.bufferPath)
    const entries = range(1, 200).flatMap(i => [{ shed: 'unreadable' }, { shed: `reason-${i % 2 === 0 ? 'a' : 'b'}` }])
    buffer.append({ profile: config.profile, entries, source: null, nulledValues: 0, eventTimeMs: null })
    buffer.close()
    await run(config).done
    const declared = new Set<number>()
    for (const { batch } of broker.batches) {
      for (const { firstSeq, lastSeq } of batch.tombstones) for (const seq of range(firstSeq, lastSeq)) declared.add(seq)
      for (const seq of range(1, Math.min(400, batch.header.oldestHeldSeq - 1))) expect(declared.has(seq)).toBe(true)
    }
    expect(declared.size).toBe(400)
    expect(broker.batches.at(-1)!.batch).toMatchObject({ endOfStreamSeq: 410, header: { oldestHeldSeq: 411 } })
  })
})

describe('an epoch that the gateway has seen before', () => {
  test('is replaced: what was in flight keeps its event IDs, the rest gets new ones, each reading arrives once', async () => {
    const broker = await TestBroker.start()
    broker.judge = () => 'hold'
    const config = await agentOf(2000, broker)
    const agent = run(config)
    await until(() => broker.batches.length === 4)
    const { epoch } = broker.batches[0].batch.header
    broker.tell('tm/1/pump-7/ack', { epoch_spent: epoch })
    await until(() => readStatus(config.bufferPath, 0).epoch !== epoch)
    broker.judge = () => 'ack'
    broker.release()
    await agent.done
    const newEpoch = broker.batches.at(-1)!.batch.header.epoch
    expect(newEpoch).not.toBe(epoch)
    expect(broker.statuses[1]).toMatchObject({ state: 'online', epoch: newEpoch })
    const values = broker.batches.flatMap(({ batch }) => [...(batch.columns[0]?.values ?? [])])
    expect(values).toEqual(range(1, 2000).map(i => i / 1e4))
    const seqsOf = (wanted: number) =>
      broker.batches.filter(({ batch }) => batch.header.epoch === wanted).flatMap(({ batch }) => [...batch.header.seqs])
    const kept = seqsOf(epoch).length
    expect(seqsOf(epoch)).toEqual(range(1, kept))
    expect(seqsOf(newEpoch)).toEqual(range(1, 2000 - kept))
    expect(kept).toBeLessThan(2000)
    // The seqs that fell free are declared, so that the old epoch balances.
    const freed = broker.batches.flatMap(({ batch }) => batch.tombstones)
    expect(freed[0]).toEqual({ firstSeq: kept + 1, lastSeq: 2000, keepEvery: 0, reason: 'epoch-spent' })
    expect(broker.batches.at(-1)!.batch.endOfStreamSeq).toBe(2000 - kept)
  })

  test('is left alone when it is not the current one', async () => {
    const broker = await TestBroker.start()
    const config = await agentOf(10, broker)
    const agent = run(config, false)
    await until(() => broker.seqs.length === 10)
    const { epoch } = broker.batches[0].batch.header
    broker.tell('tm/1/pump-7/ack', { epoch_spent: epoch + 1 })
    broker.tell('tm/1/pump-7/ack', { nonsense: true })
    broker.dropConnections()
    await until(() => broker.statuses.filter(status => status.state === 'online').length === 2)
    await agent.stop()
    expect(readStatus(config.bufferPath, 0).epoch).toBe(epoch)
  })
})

describe('bounds', () => {
  test('a batch is no larger than configured', async () => {
    const broker = await TestBroker.start()
    await run(await agentOf(2000, broker, { publish: { batch_readings: 1000, batch_bytes: '4KiB' } })).done
    expect(broker.seqs).toEqual(range(1, 2000))
    expect(Math.max(...broker.batches.map(({ payload }) => payload.length))).toBeLessThanOrEqual(4096)
    expect(broker.batches.length).toBeLessThan(20)
  })

  test('a replay waits while the buffer is full, and loses nothing', async () => {
    const broker = await TestBroker.start()
    broker.judge = () => 'hold'
    const config = await agentOf(20_000, broker, { buffer: { path: 'buffer.sqlite', max_bytes: '64KiB' } })
    const agent = run(config)
    await until(() => broker.batches.length === 4)
    expect(readStatus(config.bufferPath, 0).buffered).toBeLessThan(20_000)
    broker.judge = () => 'ack'
    broker.release()
    await agent.done
    expect(broker.seqs).toEqual(range(1, 20_000))
  })

  test('a second agent on the same buffer is refused', async () => {
    const broker = await TestBroker.start()
    const config = await agentOf(1, broker)
    const first = run(config, false)
    await until(() => broker.seqs.length === 1)
    await expect(run(config).done).rejects.toThrow(/another agent is running on the buffer .*: stop it first/)
    expect(readStatus(config.bufferPath, 0).running).toBe(true)
    await first.stop()
    expect(readStatus(config.bufferPath, 0).running).toBe(false)
  })

  test('a buffer in a folder that cannot be written is refused', async () => {
    const broker = await TestBroker.start()
    const config = await agentOf(1, broker)
    await expect(run({ ...config, bufferPath: join(config.bufferPath, 'under-a-file.sqlite') }).done).rejects.toThrow(
      /folder must exist and be writable/
    )
  })
})
