/** The drain budget: who gets which grant, and when it changes. Looks come once a second. */
import { describe, expect, test } from 'vitest'
import { DrainBudget, type DrainStats } from '../../../gateway/src/drain/drain-budget.js'

/** Looks at a fleet whose devices hold so many readings, and notes what each device was told last. */
function fleet(changes: { readingsPerSecond?: number; leastPerSecond?: number } = {}) {
  const budget = new DrainBudget({ readingsPerSecond: 10_000, leastPerSecond: 1, backlogReadings: 400, ...changes })
  const told = new Map<string, number | null>()
  const sampled = new Map<string, number>()
  let nowMs = 0
  return {
    told,
    get stats(): DrainStats {
      return budget.stats
    },
    /** Looks `times` times; returns how many grants were told. `sampling`: readings a second. */
    look(buffered: Readonly<Record<string, number>>, times = 1, { isLate = false, quietMs = 0, sampling = 0 } = {}): number {
      let messages = 0
      for (let i = 0; i < times; i++, nowMs += 1000) {
        const backlogs = Object.entries(buffered).map(([deviceId, readings]) => {
          sampled.set(deviceId, (sampled.get(deviceId) ?? 0) + sampling)
          return { deviceId, epoch: 1, buffered: readings, highestSampledSeq: sampled.get(deviceId)!, quietMs }
        })
        for (const { deviceId, readingsPerSecond } of budget.look(nowMs, isLate, backlogs)) {
          told.set(deviceId, readingsPerSecond)
          messages++
        }
      }
      return messages
    },
    /** What devices with a grant may send together. */
    get total(): number {
      return [...told.values()].reduce<number>((sum, each) => sum + (each ?? 0), 0)
    }
  }
}

const of = (names: readonly string[], buffered: number) => Object.fromEntries(names.map(name => [name, buffered]))
const names = (count: number) => Array.from({ length: count }, (_, i) => `pump-${i}`)

describe('shares', () => {
  test('a device alone has no limit, and is told nothing', () => {
    const f = fleet()
    expect(f.look({ a: 100_000 }, 30)).toBe(0)
    expect(f.stats).toEqual({ devices: 1, granted: 0, grantedPerSecond: 0, budgetPerSecond: 10_000 })
  })

  test('several share the budget equally, and are told once', () => {
    const f = fleet()
    expect(f.look(of(['a', 'b', 'c', 'd'], 5000), 30)).toBe(4)
    expect([...f.told.values()]).toEqual([2500, 2500, 2500, 2500])
    expect(f.stats).toEqual({ devices: 4, granted: 4, grantedPerSecond: 10_000, budgetPerSecond: 10_000 })
  })

  test('a device that is live is none of them', () => {
    const f = fleet()
    f.look({ a: 5000, b: 5000, live: 399 }, 3)
    expect(Object.fromEntries(f.told)).toEqual({ a: 5000, b: 5000 })
  })

  test('rise as others finish, and who has finished or is left alone has no limit again', () => {
    const f = fleet()
    f.look(of(['a', 'b', 'c', 'd'], 5000), 5)
    f.look(of(['a', 'b', 'c'], 5000), 1)
    expect(f.told.get('d')).toBeNull()
    f.look(of(['a', 'b', 'c'], 5000), 10)
    expect([f.told.get('a'), f.total]).toEqual([3333, 9999])
    f.look({ a: 5000 }, 5)
    expect(Object.fromEntries(f.told)).toEqual({ a: null, b: null, c: null, d: null })
  })

  test('of a fleet that comes back over a minute never add up to more than a tenth above the budget', () => {
    const f = fleet({ readingsPerSecond: 1_000_000 })
    const all = names(3000)
    let messages = 0
    for (let second = 1; second <= 60; second++) {
      messages += f.look(of(all.slice(0, second * 50), 5000))
      expect(f.total).toBeLessThanOrEqual(1_100_000)
    }
    f.look(of(all, 5000), 20)
    expect(f.total).toBeGreaterThan(900_000)
    expect(messages / all.length).toBeLessThan(12)
  })

  test('are told to so many devices in a look, and to the others in the next ones', () => {
    const f = fleet({ readingsPerSecond: 10_000_000 })
    const all = of(names(12_000), 5000)
    expect([f.look(all), f.look(all), f.look(all), f.look(all)]).toEqual([5000, 5000, 2000, 0])
    expect(f.told.size).toBe(12_000)
  })
})

describe('floors', () => {
  test('no device is granted less than the least', () => {
    const f = fleet({ readingsPerSecond: 10, leastPerSecond: 3 })
    f.look(of(names(100), 5000), 2)
    expect(new Set(f.told.values())).toEqual(new Set([3]))
  })

  test('nor less than twice what it samples: a backlog always shrinks', () => {
    const f = fleet({ readingsPerSecond: 100 })
    f.look(of(['a', 'b'], 5000), 20, { sampling: 40 })
    expect([...f.told.values()]).toEqual([80, 80])
  })

  test('what is too fast for a sensor is a recording, whose sampling can wait', () => {
    const f = fleet({ readingsPerSecond: 100 })
    f.look(of(['a', 'b'], 5000), 20, { sampling: 200_000 })
    expect([...f.told.values()]).toEqual([2000, 2000])
  })
})

describe('hysteresis', () => {
  test('a device about the bound does not come and go', () => {
    const f = fleet()
    let messages = f.look({ a: 5000, b: 5000 }, 5)
    for (let i = 0; i < 20; i++) messages += f.look({ a: 5000, b: 5000, c: i % 2 === 0 ? 410 : 110 })
    expect(messages).toBe(2 + 3)
    f.look({ a: 5000, b: 5000, c: 99 })
    expect(f.told.get('c')).toBeNull()
  })

  test('one device more or less among many changes nobody else', () => {
    const f = fleet()
    const many = of(names(50), 5000)
    f.look(many, 20)
    let messages = 0
    for (let i = 0; i < 40; i++) messages += f.look(i % 2 === 0 ? { ...many, another: 5000 } : many)
    expect(messages).toBe(40) // those of the one
  })
})

describe('a gateway that is late', () => {
  test('grants less, down to a bound, and more again when it is not', () => {
    const f = fleet()
    const both = { a: 50_000, b: 50_000 }
    f.look(both, 2)
    f.look(both, 3, { isLate: true })
    expect(f.told.get('a')).toBe(Math.floor(5000 * 0.7 ** 3))
    f.look(both, 60, { isLate: true })
    expect(f.told.get('a')).toBe(Math.floor(5000 / 16))
    f.look(both, 60)
    expect(f.told.get('a')).toBe(5000)
  })
})

test('no more devices are remembered than a gateway has', () => {
  const f = fleet()
  f.look(of(names(200_001), 5000))
  expect(f.stats.devices).toBe(200_000)
  f.look({})
  expect(f.stats).toMatchObject({ devices: 0, granted: 0 })
})

describe('a device that has gone', () => {
  test('leaves its share to the others', () => {
    const f = fleet()
    f.look({ a: 5000, b: 5000 }, 5)
    f.look({ a: 5000 }, 5)
    expect(f.told.get('a')).toBeNull()
  })

  test('is one that is quiet for long, and longer where its grant makes it wait between batches', () => {
    const f = fleet({ readingsPerSecond: 2 })
    f.look({ a: 5000, b: 5000 }, 2)
    f.look({ a: 5000, b: 5000 }, 2, { quietMs: 110_000 }) // 60 readings a batch, one a second
    expect([f.stats.devices, f.told.get('a')]).toEqual([2, 1])
    f.look({ a: 5000, b: 5000 }, 1, { quietMs: 121_000 })
    expect([f.stats.devices, f.told.get('a')]).toEqual([0, null])
    expect(f.look({ a: 5000, b: 5000 }, 5, { quietMs: 31_000 })).toBe(0)
  })
})
