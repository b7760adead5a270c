import { join } from 'node:path'
import type { ClockQuality } from '@tidemark/protocol'
import { describe, expect, onTestFinished, test } from 'vitest'
import { AgentClock } from '../../agent/src/agent-clock.js'
import { salvageBuffer } from '../../agent/src/buffer-salvage.js'
import type { BufferOptions, SqliteBuffer } from '../../agent/src/sqlite-buffer.js'
import { openBuffer, profileOf, silent, temporaryFolder, until } from './kit.js'

const NOW = Date.UTC(2026, 10, 24, 13)
const PROFILE = profileOf('n')

/** A machine whose clocks and kernel do as they are told, with an agent that may live and die on it. */
async function playMachine(changes: Partial<BufferOptions> = {}) {
  const path = join(await temporaryFolder(), 'b.sqlite')
  const machine = { bootId: 'boot 1', monotonicMs: 0, wallMs: 60_000, kernel: 'unknown' as 'synced' | 'unsynced' | 'unknown' }
  let n = 0
  let buffer: SqliteBuffer
  let clock: AgentClock
  let rebased = 0
  const agent = {
    async start() {
      buffer = openBuffer(path, changes)
      clock = new AgentClock({
        buffer,
        log: silent,
        bootId: machine.bootId,
        monotonicMs: () => machine.monotonicMs,
        wallMs: () => machine.wallMs,
        askKernel: async () => machine.kernel,
        rebased: () => rebased++,
        failed: error => {
          throw error
        }
      })
      await clock.start()
    },
    stop() {
      clock.stop()
      buffer.close()
    },
    /** Takes a reading. */
    sample() {
      const { storedMs } = clock.stamp(machine.monotonicMs)
      const entries = [{ eventTimeMs: storedMs, values: [++n] }]
      buffer.append({ profile: PROFILE, entries, source: null, nulledValues: 0, eventTimeMs: clock.eventTimeMs })
    },
    /** What may be published: [number, event time, quality]. */
    readable(): [number, number, ClockQuality][] {
      const found: [number, number, ClockQuality][] = []
      for (let at = 0; ; ) {
        const read = buffer.readAfter(at, 100)
        if (read?.kind !== 'readings') return found
        const { positions, eventTimesMs, columns, clock: quality = 'synced' } = read.readings
        for (const [i, eventTimeMs] of eventTimesMs.entries()) found.push([Number(columns[0].values[i]), eventTimeMs, quality])
        at = positions[positions.length - 1]
      }
    },
    get buffer() {
      return buffer
    },
    get clock() {
      return clock
    },
    get rebased() {
      return rebased
    }
  }
  /** Time passes. */
  const pass = (ms: number) => {
    machine.monotonicMs += ms
    machine.wallMs += ms
  }
  const boot = (wallMs: number) => Object.assign(machine, { bootId: `${machine.bootId}'`, monotonicMs: 1000, wallMs })
  await agent.start()
  onTestFinished(() => agent.stop())
  return { machine, agent, pass, boot }
}

describe('a machine that boots in 1970', () => {
  test('holds its readings until the clock is set, and then gives each the time at which it was taken', async () => {
    const { machine, agent, pass } = await playMachine()
    for (let i = 0; i < 5; i++) {
      agent.sample()
      pass(60_000)
    }
    expect(agent.readable()).toEqual([])
    expect(agent.buffer.state.held).toBe(5)
    expect(agent.clock.report()).toMatchObject({ state: 'held', because: 'not-set' })
    machine.wallMs = NOW // set after 5 minutes
    agent.sample()
    expect(agent.readable()).toEqual([
      [1, NOW - 300_000, 'estimated'],
      [2, NOW - 240_000, 'estimated'],
      [3, NOW - 180_000, 'estimated'],
      [4, NOW - 120_000, 'estimated'],
      [5, NOW - 60_000, 'estimated'],
      [6, NOW, 'estimated']
    ])
  })

  test('calls them synced where the kernel says that the clock is', async () => {
    const { machine, agent, pass } = await playMachine()
    agent.sample()
    pass(1000)
    Object.assign(machine, { wallMs: NOW, kernel: 'synced' })
    await agent.clock.start()
    agent.sample()
    expect(agent.readable()).toEqual([
      [1, NOW - 1000, 'synced'],
      [2, NOW, 'synced']
    ])
    expect(agent.clock.report()).toMatchObject({ state: 'synced', because: 'kernel-synced' })
  })

  test('goes by the time of the gateway, and says that it is an estimate', async () => {
    const { machine, agent, pass } = await playMachine()
    agent.sample()
    pass(10_000)
    agent.clock.heard(NOW, machine.monotonicMs - 40, machine.monotonicMs)
    agent.sample()
    expect(agent.readable()).toEqual([
      [1, NOW - 9980, 'estimated'],
      [2, NOW + 20, 'estimated']
    ])
    expect(agent.clock.report()).toMatchObject({ because: 'gateway-time', gateway_ahead_ms: NOW + 20 - machine.wallMs })
  })

  test('lets held readings go without waiting for the next one', async () => {
    const { machine, agent } = await playMachine()
    agent.sample()
    machine.wallMs = NOW
    await until(() => agent.rebased === 1)
    expect(agent.readable()).toEqual([[1, NOW, 'estimated']])
  })

  test('holds on over the end of the agent, within one boot', async () => {
    const { machine, agent, pass } = await playMachine()
    agent.sample()
    pass(1000)
    agent.stop()
    pass(5000)
    await agent.start()
    agent.sample()
    pass(2000)
    expect(agent.readable()).toEqual([])
    machine.wallMs = NOW
    agent.sample()
    expect(agent.readable().map(([, eventTimeMs]) => eventTimeMs)).toEqual([NOW - 8000, NOW - 2000, NOW])
    expect(agent.buffer.facts()).toMatchObject({ highestSampledSeq: 3 })
  })

  test('places the readings of a boot that never saw a clock before the next boot, in their order', async () => {
    const { machine, agent, pass, boot } = await playMachine()
    Object.assign(machine, { wallMs: NOW - 86_400_000 })
    agent.sample() // a day ago, when the clock was right
    agent.stop()
    boot(60_000)
    await agent.start()
    agent.sample()
    pass(30_000)
    agent.sample()
    agent.stop()
    boot(60_000)
    await agent.start()
    pass(10_000)
    agent.sample()
    pass(5000)
    machine.wallMs = NOW
    agent.sample()
    const booted = NOW - 16_000
    expect(agent.readable()).toEqual([
      [1, NOW - 86_400_000, 'estimated'],
      [2, booted - 30_000, 'estimated'],
      [3, booted, 'estimated'],
      [4, NOW - 5000, 'estimated'],
      [5, NOW, 'estimated']
    ])
  })

  test('never gives a reading a time before that of an earlier one in its epoch', async () => {
    const { machine, agent, pass } = await playMachine()
    Object.assign(machine, { wallMs: NOW + 5000 }) // somewhat fast when it was set by hand
    agent.sample()
    agent.stop()
    Object.assign(machine, { bootId: 'boot 2', monotonicMs: 1000, wallMs: 60_000 })
    await agent.start()
    agent.sample()
    pass(2000)
    machine.wallMs = NOW + 3000
    agent.sample()
    const times = agent.readable().map(([, eventTimeMs]) => eventTimeMs)
    expect(times).toEqual([NOW + 5000, NOW + 5000, expect.any(Number)])
    expect(times[2]).toBeGreaterThanOrEqual(NOW + 5000)
  })
})

describe('with durability spill', () => {
  const SPILL = { isLive: true, reserveReadings: 100 }

  test('readings are held in memory, and rebased there', async () => {
    const { machine, agent, pass } = await playMachine(SPILL)
    agent.sample()
    pass(60_000)
    agent.sample()
    expect(agent.buffer.inMemory).toBe(2)
    expect(agent.readable()).toEqual([])
    machine.wallMs = NOW
    agent.sample()
    expect(agent.buffer.inMemory).toBe(3)
    expect(agent.readable().map(([, eventTimeMs]) => eventTimeMs)).toEqual([NOW - 60_000, NOW, NOW])
  })

  test('the event time of the last one is known on after a crash that follows at once', async () => {
    const { machine, agent } = await playMachine({ isLive: true })
    agent.sample()
    machine.wallMs = NOW
    await until(() => agent.rebased > 0)
    expect(agent.readable().map(([, eventTimeMs]) => eventTimeMs)).toEqual([NOW])
    expect(agent.buffer.state.eventTimeMs).toBe(NOW)
  })

  test('those that were written are held over the end of the agent with those that are in memory', async () => {
    const { machine, agent, pass } = await playMachine(SPILL)
    agent.sample()
    pass(1000)
    agent.stop()
    await agent.start()
    agent.sample()
    pass(2000)
    expect(agent.buffer.inMemory).toBe(1)
    machine.wallMs = NOW
    agent.sample()
    agent.buffer.keepUp(0)
    expect(agent.buffer.inMemory).toBe(0)
    expect(agent.readable().map(([, eventTimeMs]) => eventTimeMs)).toEqual([NOW - 3000, NOW - 2000, NOW])
  })
})

test('a salvaged buffer knows on which of its readings are held', async () => {
  const { machine, agent, pass } = await playMachine()
  agent.sample()
  pass(5000)
  agent.stop()
  const { path } = agent.buffer
  salvageBuffer({ path, deviceId: 'pump-7', machineId: '', profile: PROFILE, randomBytes: () => Buffer.alloc(7, 9) })
  await agent.start()
  expect(agent.readable()).toEqual([])
  machine.wallMs = NOW
  agent.sample()
  expect(agent.readable().map(([, eventTimeMs]) => eventTimeMs)).toEqual([NOW - 5000, NOW])
})

describe('a machine whose clock nobody has set yet, though it looks right', () => {
  test('waits for the gateway to say what it thinks', async () => {
    const { machine, agent, pass } = await playMachine()
    Object.assign(machine, { wallMs: NOW, kernel: 'unsynced' })
    await agent.clock.start()
    agent.sample()
    agent.clock.connected()
    pass(9000)
    agent.sample()
    expect(agent.readable()).toEqual([])
    agent.clock.heard(NOW + 9000, machine.monotonicMs - 10, machine.monotonicMs)
    agent.sample()
    expect(agent.readable()).toEqual([
      [1, NOW, 'synced'],
      [2, NOW + 9000, 'synced'],
      [3, NOW + 9000, 'synced']
    ])
  })

  test('is believed after a while where the gateway does not say', async () => {
    const { machine, agent, pass } = await playMachine()
    Object.assign(machine, { wallMs: NOW, kernel: 'unsynced' })
    await agent.clock.start()
    agent.sample()
    agent.clock.connected()
    pass(10_001)
    agent.sample()
    expect(agent.readable()).toEqual([
      [1, NOW, 'estimated'],
      [2, NOW + 10_001, 'estimated']
    ])
  })
})

describe('what a batch says of the clock', () => {
  test('is the same for all its readings: a batch ends where it changes', async () => {
    const { machine, agent, pass } = await playMachine()
    machine.wallMs = NOW
    agent.sample()
    agent.clock.heard(NOW, machine.monotonicMs, machine.monotonicMs)
    for (let i = 0; i < 2; i++) {
      pass(1000)
      agent.sample()
    }
    const read = agent.buffer.readAfter(0, 100)
    expect(read).toMatchObject({ kind: 'readings', readings: { clock: 'estimated', positions: Float64Array.of(1) } })
    expect(agent.readable()).toEqual([
      [1, NOW, 'estimated'],
      [2, NOW + 1000, 'synced'],
      [3, NOW + 2000, 'synced']
    ])
  })

  test('is forgotten once its readings are acked', async () => {
    const { machine, agent, pass } = await playMachine()
    machine.wallMs = NOW
    for (let i = 0; i < 10; i++) {
      const isSynced = i % 2 === 1
      machine.kernel = isSynced ? 'synced' : 'unknown'
      await agent.clock.start()
      pass(1000)
      agent.sample()
    }
    expect(agent.buffer.clocks.endOf(1)).toBe(1)
    agent.buffer.settle(9, 9, [])
    machine.kernel = 'unknown'
    await agent.clock.start()
    agent.sample()
    expect(agent.buffer.clocks.endOf(1)).toBe(9) // only the ranges of what is left are known
    expect(agent.readable().map(([, , quality]) => quality)).toEqual(['synced', 'estimated'])
  })

  test('of a replay is that its times are right, whatever this machine thinks', async () => {
    const { agent } = await playMachine()
    agent.sample()
    agent.clock.replay()
    agent.buffer.append({ profile: PROFILE, entries: [{ eventTimeMs: 5, values: [99] }], source: null, nulledValues: 0, eventTimeMs: null })
    expect(agent.readable()).toEqual([]) // behind what is held
    expect(agent.buffer.clocks.current).toMatchObject({ kind: 'set', quality: 'synced' })
  })
})
