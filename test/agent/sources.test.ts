import { join } from 'node:path'
import { HOST, ROTATING_MACHINE, type Value } from '@tidemark/protocol'
import { describe, expect, test } from 'vitest'
import { AgentClock } from '../../agent/src/agent-clock.js'
import { monotonicMs } from '../../agent/src/monotonic.js'
import { Sampler } from '../../agent/src/sampler.js'
import { advance, coldMachine, measure, openSimulated, SIMULATED_METRICS } from '../../agent/src/sources/simulated.js'
import type { Measured, Source, SourceGroup } from '../../agent/src/sources/source.js'
import { openSystem, SYSTEM_METRICS } from '../../agent/src/sources/system.js'
import { cpuUsed, memory, temperatures } from '../../agent/src/sources/system-sensors.js'
import type { SqliteBuffer } from '../../agent/src/sqlite-buffer.js'
import { machine, measureOnce, never, openBuffer, silent, temporaryFolder } from './kit.js'

describe('the system source', () => {
  test('measures the machine that the tests run on, within the profile', async () => {
    const { values } = await measureOnce(openSystem({ root: '/', disk: '/' }, SYSTEM_METRICS))
    for (const metric of HOST.metrics) {
      const value = values[metric.name]
      if (metric.required) expect(value, metric.name).not.toBeNull()
      if (value === null) continue
      expect(value, metric.name).toBeGreaterThanOrEqual(metric.min!)
      expect(value, metric.name).toBeLessThanOrEqual(metric.max ?? Number.POSITIVE_INFINITY)
    }
  })

  test('reads the warmest sensor of the processor and of the board, and no disk', async () => {
    const root = await machine({
      'sys/class/thermal/thermal_zone0/type': 'cpu-thermal\n',
      'sys/class/thermal/thermal_zone0/temp': '48312\n',
      'sys/class/thermal/thermal_zone1/type': 'acpitz\n',
      'sys/class/thermal/thermal_zone1/temp': '31000\n',
      'sys/class/hwmon/hwmon0/name': 'coretemp\n',
      'sys/class/hwmon/hwmon0/temp1_input': '51000\n',
      'sys/class/hwmon/hwmon1/name': 'nvme\n',
      'sys/class/hwmon/hwmon1/temp1_input': '70000\n',
      'sys/class/hwmon/hwmon2/name': 'rp1_adc\n',
      'sys/class/hwmon/hwmon2/temp1_input': '44500\n',
      'sys/class/hwmon/hwmon2/temp2_input': 'broken\n'
    })
    expect(await temperatures(root)).toEqual({ cpu: 51, board: 44.5 })
  })

  test('gives null for what the machine does not tell', async () => {
    const root = await machine({ 'proc/meminfo': 'MemTotal: 1000 kB\nMemAvailable: 250 kB\nSwapTotal: 0 kB\nSwapFree: 0 kB\n' })
    expect(await temperatures(root)).toEqual({ cpu: null, board: null })
    expect(await memory(root)).toEqual({ used: 75, swapUsed: null })
    expect(cpuUsed({ busy: 5, total: 10 }, { busy: 5, total: 10 })).toBeNull()
    expect(cpuUsed({ busy: 5, total: 10 }, { busy: 8, total: 20 })).toBe(30)
  })
})

describe('the simulated machine', () => {
  const config = { seed: 7, intervalMs: 5000 }

  function play(readings: number, seed = 7) {
    let state = coldMachine(seed)
    return Array.from({ length: readings }, () => {
      const measured = measure(state, { ...config, seed })
      state = advance(state, { ...config, seed })
      return measured
    })
  }

  test('is a function of its seed', () => {
    expect(play(100)).toEqual(play(100))
    expect(play(100)).not.toEqual(play(100, 8))
  })

  test('stays within its profile for a week, and moves smoothly', () => {
    const readings = play(120_960)
    for (const metric of ROTATING_MACHINE.metrics) {
      const numbers = readings.map(reading => reading[metric.name]).filter(value => typeof value === 'number')
      for (const value of numbers) expect(value >= (metric.min ?? 0) && value <= (metric.max ?? Number.POSITIVE_INFINITY)).toBe(true)
    }
    const temperatures = readings.map(reading => Number(reading.temperature))
    expect(Math.max(...temperatures.slice(1).map((value, i) => Math.abs(value - temperatures[i])))).toBeLessThan(1)
    expect(Math.max(...temperatures) - Math.min(...temperatures)).toBeGreaterThan(20)
  })

  test('goes on from its position as if it had never stopped', async () => {
    const play = async (position: string | null) => {
      const source = openSimulated({ seed: 3, intervalMs: 10, readings: 5 }, SIMULATED_METRICS)
      const measured: Measured[] = []
      if (position !== null && source.resume!(position) === false) return measured
      do measured.push(await source.measure(never()))
      while (measured.at(-1)!.isLast === false)
      return measured
    }
    const whole = await play(null)
    expect(whole).toHaveLength(5)
    expect(await play(whole[1].position!)).toEqual(whole.slice(2))
    expect(await play(whole[4].position!)).toEqual([])
  })
})

/** The clock of the machine, believed. */
function clockOf(buffer: SqliteBuffer): AgentClock {
  return new AgentClock({
    buffer,
    log: silent,
    bootId: 'this boot',
    monotonicMs,
    wallMs: () => Date.now(),
    askKernel: async () => 'unknown',
    rebased: () => {},
    failed: error => {
      throw error
    }
  })
}

describe('the sampler', () => {
  function source(groups: SourceGroup[], live: boolean): Source {
    return {
      live,
      key: 'test',
      async *groups() {
        yield* groups
      }
    }
  }

  const reading = (values: readonly Value[], eventTimeMs?: number): SourceGroup => ({
    entries: [eventTimeMs === undefined ? { measuredMs: monotonicMs(), values } : { eventTimeMs, values }],
    position: null,
    nulledValues: 0,
    problems: []
  })

  const host = (cpu: number) => [cpu, 50, 1, null, null, null, null, null]

  test('gives live readings the time of now, never earlier than the last, also after a restart', async () => {
    const path = join(await temporaryFolder(), 'b.sqlite')
    const before = Date.now()
    for (let i = 0; i < 2; i++) {
      const buffer = openBuffer(path)
      await new Sampler({
        source: source([reading(host(1)), reading(host(2))], true),
        profile: HOST,
        buffer,
        clock: clockOf(buffer),
        log: silent,
        committed: () => {}
      }).run(never())
      buffer.close()
    }
    const buffer = openBuffer(path)
    const read = buffer.readAfter(0, 10)
    if (read?.kind !== 'readings') throw new Error('nothing')
    const times = [...read.readings.eventTimesMs]
    expect(times).toHaveLength(4)
    expect(times).toEqual([...times].sort((a, b) => a - b))
    expect(times[0]).toBeGreaterThanOrEqual(before)
    expect(buffer.state.eventTimeMs).toBe(times[3])
    buffer.close()
  })

  test('rounds values to their resolution when they are sampled', async () => {
    const buffer = openBuffer(join(await temporaryFolder(), 'b.sqlite'))
    await new Sampler({
      source: source([reading(host(12.3456), 5)], false),
      profile: HOST,
      buffer,
      clock: clockOf(buffer),
      log: silent,
      committed: () => {}
    }).run(never())
    expect(buffer.readAfter(0, 1)).toMatchObject({ readings: { eventTimesMs: new Float64Array([5]) } })
    const read = buffer.readAfter(0, 1)
    expect(read?.kind === 'readings' && read.readings.columns[0].values[0]).toBe(12.3)
    buffer.close()
  })

  test('declares live readings as shed while the buffer is full, and stores them again when there is room', async () => {
    const buffer = openBuffer(join(await temporaryFolder(), 'b.sqlite'), { bytesMax: 300 })
    let freed = 0
    const groups = Array.from({ length: 12 }, (_, i) => reading(host(i)))
    const committed = () => {
      if (++freed === 8) buffer.settle(2, 2, [])
    }
    await new Sampler({ source: source(groups, true), profile: HOST, buffer, clock: clockOf(buffer), log: silent, committed }).run(never())
    const { carried } = buffer.tombstonesFor(buffer.epoch, 100)
    expect(carried).toMatchObject([
      { lastSeq: 8, reason: 'dropped-newest' },
      { lastSeq: 12, reason: 'dropped-newest' }
    ])
    const shed = carried.reduce((sum, tombstone) => sum + tombstone.lastSeq - tombstone.firstSeq + 1, 0)
    expect(2 + buffer.state.held + shed).toBe(12)
    buffer.close()
  })

  test('stores null for text that no batch can carry, and counts it', async () => {
    const buffer = openBuffer(join(await temporaryFolder(), 'b.sqlite'))
    const values = [1, 2, null, null, null, null, null, null, null, '漢'.repeat(2000)]
    const group = { ...reading(values, 5) }
    await new Sampler({
      source: source([group], false),
      profile: ROTATING_MACHINE,
      buffer,
      clock: clockOf(buffer),
      log: silent,
      committed: () => {}
    }).run(never())
    const read = buffer.readAfter(0, 1)
    expect(read?.kind === 'readings' && read.readings.columns[9].state?.[0]).toBe(1)
    expect(buffer.state.nulledValues).toBe(1)
    buffer.close()
  })
})
