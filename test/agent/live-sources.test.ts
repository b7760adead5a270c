import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Value } from '@tidemark/protocol'
import { pino } from 'pino'
import { describe, expect, test } from 'vitest'
import { stringify } from 'yaml'
import { readConfig } from '../../agent/src/config.js'
import { SAMPLING_LATE_MS_MAX } from '../../agent/src/limits.js'
import { monotonicMs } from '../../agent/src/monotonic.js'
import { type Cadence, everyInterval, onSchedule } from '../../agent/src/sources/cadence.js'
import { LiveSources } from '../../agent/src/sources/live-sources.js'
import { openSource } from '../../agent/src/sources/open-source.js'
import type { LiveSource, Measured, SourceGroup } from '../../agent/src/sources/source.js'
import { never, profileOf, silent, temporaryFolder } from './kit.js'

const PROFILE = profileOf('a', 'b', 'c')

/** A source that does what `play` says, with how often it was asked. */
function fake(
  key: string,
  metrics: string[],
  play: (n: number, signal: AbortSignal) => Promise<Partial<Measured> | Record<string, number>>
) {
  const source = {
    key,
    metrics,
    asked: 0,
    closed: 0,
    async measure(signal: AbortSignal): Promise<Measured> {
      const given = await play(++source.asked, signal)
      return 'values' in given || 'problems' in given
        ? { values: new Map<string, Value>(), problems: [], ...(given as Partial<Measured>) }
        : { values: new Map<string, Value>(Object.entries(given)), problems: [] }
    },
    async close() {
      source.closed++
    }
  }
  return source
}

/** Moments that follow each other at once, so many of them. */
function moments(count: number): Cadence {
  let left = count
  return { key: 'test', dueMs: Number.POSITIVE_INFINITY, next: async signal => !signal.aborted && left-- > 0 }
}

function combine(sources: LiveSource[], count: number, changes: Partial<ConstructorParameters<typeof LiveSources>[0]> = {}): LiveSources {
  const members = sources.map(source => ({ source, identity: source.key, timeoutMs: 60_000 }))
  return new LiveSources({ members, profile: PROFILE, cadence: moments(count), once: false, log: silent, stop: never(), ...changes })
}

async function groupsOf(source: LiveSources, position: string | null = null): Promise<SourceGroup[]> {
  const groups: SourceGroup[] = []
  for await (const group of source.groups(position, never())) groups.push(group)
  return groups
}

const valuesOf = (groups: readonly SourceGroup[]) => groups.map(({ entries: [entry] }) => ('shed' in entry ? [] : [...entry.values]))

const hang = () => new Promise<never>(() => {})

describe('the sampling loop counts as hung', () => {
  const late = (ms: number) => monotonicMs() + SAMPLING_LATE_MS_MAX + ms
  const pump = () => fake('x', ['a'], async n => ({ a: n }))

  test('where its next moment has passed, and it still waits for it', async () => {
    const sources = combine([pump()], 0, { cadence: { key: 'stuck', dueMs: monotonicMs(), next: () => hang() } })
    expect(sources.isHung(monotonicMs())).toBe(false)
    void sources.groups(null, never()).next()
    expect(sources.isHung(monotonicMs())).toBe(false)
    expect(sources.isHung(late(1000))).toBe(true)
  })

  test('where nobody takes what it has measured; and no more once it goes on', async () => {
    const sources = combine([pump()], 1)
    const groups = sources.groups(null, never())
    await groups.next()
    expect(sources.isHung(late(0))).toBe(false)
    expect(sources.isHung(late(61_000))).toBe(true)
    await groups.next()
    expect(sources.isHung(late(61_000))).toBe(false)
  })

  test('not while a schedule lets it wait', async () => {
    const sources = combine([pump()], 0, { cadence: { key: 'cron', dueMs: Number.POSITIVE_INFINITY, next: () => hang() } })
    void sources.groups(null, never()).next()
    expect(sources.isHung(late(86_400_000))).toBe(false)
  })
})

describe('several sources', () => {
  test('give one reading together, each its own metrics; what none gives is null', async () => {
    const sources = combine([fake('x', ['a'], async n => ({ a: n })), fake('y', ['c'], async n => ({ c: 10 * n }))], 2)
    expect(valuesOf(await groupsOf(sources))).toEqual([
      [1, null, 10],
      [2, null, 20]
    ])
    expect(sources.states().map(({ key, state, metrics }) => [key, state, metrics])).toEqual([
      ['x', 'ok', ['a']],
      ['y', 'ok', ['c']]
    ])
  })

  test('go on without one that fails, until it is well again', async () => {
    const lines: Record<string, unknown>[] = []
    const log = pino({ level: 'info' }, { write: line => lines.push(JSON.parse(line)) })
    const broken = fake('y', ['b'], async n => {
      if (n === 2) throw new Error('unplugged')
      return { b: n }
    })
    const sources = combine([fake('x', ['a'], async n => ({ a: n })), broken], 4, { log })
    expect(valuesOf(await groupsOf(sources))).toEqual([
      [1, 1, null],
      [2, null, null],
      [3, 3, null],
      [4, 4, null]
    ])
    expect(sources.states()[1]).toMatchObject({ state: 'ok', failures: 0, failuresTotal: 1, error: 'unplugged' })
    expect(lines.map(({ source, msg }) => [source, msg])).toEqual([
      ['y', 'the source fails: its values are null until it is well again'],
      ['y', 'the source gives all its values again']
    ])
  })

  test('go on without one that hangs: it is told, not asked again before it has let go, and not waited for', async () => {
    const told: boolean[] = []
    const hanging = fake('y', ['b'], async (_, signal) => {
      signal.addEventListener('abort', () => told.push(true))
      return hang()
    })
    const members = [
      { source: fake('x', ['a'], async n => ({ a: n })), identity: 'x', timeoutMs: 60_000 },
      { source: hanging, identity: 'y', timeoutMs: 1 }
    ]
    const sources = combine([], 50, { members })
    expect(valuesOf(await groupsOf(sources))).toEqual(Array.from({ length: 50 }, (_, i) => [i + 1, null, null]))
    expect(hanging.asked).toBe(1)
    expect(told).toEqual([true])
    expect(sources.states()[1]).toMatchObject({ state: 'failing', failures: 1, error: 'no answer within 1 ms' })
  })

  test('leave one that keeps failing alone for a while', async () => {
    const broken = fake('y', ['b'], () => Promise.reject(new Error('broken')))
    await groupsOf(combine([fake('x', ['a'], async n => ({ a: n })), broken], 1000))
    expect(broken.asked).toBeLessThan(10)
  })

  test('say what one cannot give while it gives the rest', async () => {
    const partial = fake('y', ['b', 'c'], async () => ({ values: new Map([['c', 3]]), problems: ['b: no sensor'] }))
    const sources = combine([partial], 3)
    expect(valuesOf(await groupsOf(sources))).toEqual(Array(3).fill([null, null, 3]))
    expect(sources.states()[0]).toMatchObject({ state: 'degraded', error: 'b: no sensor', failures: 0 })
  })

  test('give no reading where nothing could be measured', async () => {
    const quiet = fake('x', ['a'], async n => (n < 3 ? { problems: ['a: nothing new'] } : { a: n }))
    expect(valuesOf(await groupsOf(combine([quiet], 4)))).toEqual([
      [3, null, null],
      [4, null, null]
    ])
  })

  test('bear the time at which measuring began', async () => {
    let beganMs = 0
    const slow = fake('x', ['a'], async () => {
      beganMs = monotonicMs()
      const untilMs = beganMs + 5
      while (monotonicMs() < untilMs) await null
      return { a: 1 }
    })
    const [{ entries }] = await groupsOf(combine([slow], 1))
    expect(entries[0]).toMatchObject({ measuredMs: expect.any(Number) })
    expect('measuredMs' in entries[0] && entries[0].measuredMs).toBeLessThanOrEqual(beganMs)
  })

  test('each go on from a position of their own', async () => {
    const counter = (key: string, metric: string) => {
      let at = 0
      return {
        ...fake(key, [metric], async () => ({ values: new Map([[metric, ++at]]), problems: [], position: String(at) })),
        resume: (position: string) => {
          at = Number(position)
          return true
        }
      }
    }
    const open = () => combine([counter('x', 'a'), counter('y', 'b'), fake('z', ['c'], async () => ({ c: 0 }))], 2)
    const groups = await groupsOf(open())
    expect(JSON.parse(groups[1].position!)).toEqual({ x: '2', y: '2' })
    expect(valuesOf(await groupsOf(open(), groups[0].position))).toEqual([
      [2, 2, 0],
      [3, 3, 0]
    ])
  })

  test('end when all of them have', async () => {
    const ending = (key: string, metric: string, last: number) =>
      fake(key, [metric], async n => ({ values: new Map([[metric, n]]), problems: [], isLast: n === last }))
    expect(valuesOf(await groupsOf(combine([ending('x', 'a', 1), ending('y', 'b', 3)], 9)))).toEqual([
      [1, 1, null],
      [null, 2, null],
      [null, 3, null]
    ])
  })

  test('finish what they are measuring when they are to end, and give it up when the agent stops', async () => {
    for (const giveUp of [false, true]) {
      const [ending, stop] = [new AbortController(), new AbortController()]
      let release = () => {}
      const slow = fake('x', ['a'], (_, signal) => {
        ending.abort()
        if (giveUp) stop.abort()
        return new Promise(resolve => {
          release = () => resolve({ a: 1 })
          signal.addEventListener('abort', () => release())
          if (!giveUp) release()
        })
      })
      const groups: SourceGroup[] = []
      for await (const group of combine([slow], 9, { stop: stop.signal }).groups(null, ending.signal)) groups.push(group)
      expect(valuesOf(groups)).toEqual(giveUp ? [] : [[1, null, null]])
    }
  })
})

describe('the cadence', () => {
  test('of an interval has its first moment now, and leaves out those that passed unheard', async () => {
    const startMs = monotonicMs()
    const cadence = everyInterval(20)
    expect(await cadence.next(never())).toBe(true)
    while (monotonicMs() < startMs + 50) await null
    const seen: number[] = []
    for (let i = 0; i < 3; i++) {
      await cadence.next(never())
      seen.push(Math.floor((monotonicMs() - startMs) / 20))
    }
    expect(seen[0]).toBeGreaterThanOrEqual(2)
    expect(new Set(seen).size).toBe(3)
  })

  test('of a schedule has the moments that the expression says', async () => {
    const cadence = await onSchedule('* * * * * *')
    expect(await cadence.next(never())).toBe(true)
    const second = Math.floor(Date.now() / 1000)
    expect(await cadence.next(never())).toBe(true)
    expect(Math.floor(Date.now() / 1000)).toBeGreaterThan(second)
  })

  test.each([
    ['an interval', async () => everyInterval(1_000_000)],
    ['a schedule', () => onSchedule('0 0 1 1 *')]
  ])('of %s ends its waiting when it is told to', async (_, open) => {
    const cadence = await open()
    const ending = new AbortController()
    if (cadence.key.startsWith('interval')) await cadence.next(never())
    const waiting = cadence.next(ending.signal)
    ending.abort()
    expect(await waiting).toBe(false)
    expect(await cadence.next(ending.signal)).toBe(false)
  })
})

describe('another configuration', () => {
  const config = {
    device_id: 'd',
    gateway: { url: 'mqtt://h' },
    profile: 'host',
    buffer: { path: 'b' },
    sources: [
      { type: 'system', metrics: ['cpu_used', 'memory_used', 'load_1m'] },
      { type: 'thermal', metrics: { cpu_temperature: { zone: 'a' } } }
    ]
  }

  async function opened(changes: object, previous: LiveSources | null): Promise<LiveSources> {
    const path = join(await temporaryFolder(), 'agent.yaml')
    await writeFile(path, stringify({ ...config, ...changes }))
    const source = await openSource(await readConfig(path), { once: false, log: silent, stop: never(), previous })
    if (!(source instanceof LiveSources)) throw new Error('no live sources')
    return source
  }

  test('keeps the sources and the cadence that it has in common with the old one, and opens the others anew', async () => {
    const before = await opened({}, null)
    const same = await opened({ log_level: 'debug' }, before)
    expect(same.cadence).toBe(before.cadence)
    expect(same.members.map((member, i) => member === before.members[i])).toEqual([true, true])
    const changed = await opened({ sources: [config.sources[0], { type: 'thermal', metrics: { cpu_temperature: { zone: 'b' } } }] }, before)
    expect(changed.cadence).toBe(before.cadence)
    expect(changed.members.map((member, i) => member === before.members[i])).toEqual([true, false])
    expect((await opened({ interval: '1s' }, before)).cadence).not.toBe(before.cadence)
  })
})

describe('the machine itself', () => {
  async function count(once: boolean, wanted: number): Promise<number> {
    const path = join(await temporaryFolder(), 'agent.yaml')
    const config = { device_id: 'd', gateway: { url: 'mqtt://h' }, profile: 'host', buffer: { path: 'b' } }
    await writeFile(path, stringify({ ...config, source: { type: 'system' }, interval: '10ms' }))
    const source = await openSource(await readConfig(path), { once, log: silent, stop: never(), previous: null })
    const ending = new AbortController()
    let groups = 0
    for await (const _ of source.groups(null, ending.signal)) if (++groups === wanted) ending.abort()
    return groups
  }

  test('gives readings until it is told to end', async () => {
    expect(await count(false, 3)).toBe(3)
  })

  test('gives one reading with --once', async () => {
    expect(await count(true, 3)).toBe(1)
  })
})
