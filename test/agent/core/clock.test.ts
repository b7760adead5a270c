import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type ClockEvidence, judgeClock } from '../../../agent/src/core/clock-trust.js'
import { type EventClock, resumeClock, tick } from '../../../agent/src/core/event-clock.js'
import { type HeldSpan, rebaseHeld } from '../../../agent/src/core/rebase.js'
import { CLOCK_EARLIEST_MS } from '../../../agent/src/limits.js'

const NOW = Date.UTC(2026, 10, 24, 13)
const DAY = 86_400_000

describe('whether a clock is believed', () => {
  /** The machine has run for 60 s; its clock is `offMs` off. */
  const evidence = (changes: Partial<ClockEvidence> & { offMs?: number } = {}): ClockEvidence => {
    const { offMs = 0, ...rest } = changes
    return { wallMs: NOW + offMs, monotonicMs: 60_000, kernel: 'unknown', gateway: 'unknown', believedOffsetMs: null, ...rest }
  }
  const TRUE_OFFSET = NOW - 60_000
  const told = { offsetMs: TRUE_OFFSET, toleranceMs: 20 }
  const in1970 = 60_000 - NOW

  test.each<[string, ClockEvidence, ReturnType<typeof judgeClock>]>([
    [
      'the kernel says that it is set',
      evidence({ kernel: 'synced' }),
      { offsetMs: TRUE_OFFSET, quality: 'synced', because: 'kernel-synced' }
    ],
    ['it is 1970', evidence({ offMs: in1970 }), null],
    ['it is 1970, whatever the kernel says', evidence({ offMs: in1970, kernel: 'synced' }), null],
    ['it is 1970, and the gateway is silent', evidence({ offMs: in1970, gateway: 'silent' }), null],
    [
      'it is 1970, but the gateway tells its time',
      evidence({ offMs: in1970, gateway: told }),
      { offsetMs: TRUE_OFFSET, quality: 'estimated', because: 'gateway-time' }
    ],
    ['a plausible time that nobody has set', evidence({ offMs: -DAY, kernel: 'unsynced' }), null],
    [
      'a plausible time that nobody has set, which the gateway corrects',
      evidence({ offMs: -DAY, kernel: 'unsynced', gateway: told }),
      { offsetMs: TRUE_OFFSET, quality: 'estimated', because: 'gateway-time' }
    ],
    [
      'nobody has set it, but the gateway says the same',
      evidence({ offMs: 900, kernel: 'unsynced', gateway: told }),
      { offsetMs: TRUE_OFFSET + 900, quality: 'synced', because: 'gateway-agrees' }
    ],
    [
      'nobody has set it, and the gateway does not tell its time',
      evidence({ kernel: 'unsynced', gateway: 'silent' }),
      { offsetMs: TRUE_OFFSET, quality: 'estimated', because: 'wall-clock' }
    ],
    ['nobody can tell', evidence(), { offsetMs: TRUE_OFFSET, quality: 'estimated', because: 'wall-clock' }],
    [
      'the gateway itself is in 1970',
      evidence({ gateway: { offsetMs: 0, toleranceMs: 5 } }),
      { offsetMs: TRUE_OFFSET, quality: 'estimated', because: 'wall-clock' }
    ],
    [
      'it was believed, and is set to 1970 now',
      evidence({ offMs: in1970, believedOffsetMs: 5 }),
      { offsetMs: 5, quality: 'estimated', because: 'believed-before' }
    ],
    [
      'it was believed, and the kernel has lost its time service since',
      evidence({ kernel: 'unsynced', believedOffsetMs: 5 }),
      { offsetMs: TRUE_OFFSET, quality: 'estimated', because: 'wall-clock' }
    ]
  ])('where %s', (_, given, verdict) => {
    expect(judgeClock(given)).toEqual(verdict)
  })

  test('once it was, readings are never held again', () => {
    const kernel = fc.constantFrom('synced' as const, 'unsynced' as const, 'unknown' as const)
    const gateway = fc.oneof(
      fc.constantFrom('silent' as const, 'unknown' as const),
      fc.record({ offsetMs: fc.nat(2e12), toleranceMs: fc.nat(9) })
    )
    fc.assert(
      fc.property(fc.nat(2e12), fc.nat(1e9), kernel, gateway, (wallMs, monotonicMs, k, g) => {
        expect(judgeClock({ wallMs, monotonicMs, kernel: k, gateway: g, believedOffsetMs: 7 })).not.toBeNull()
      })
    )
  })
})

describe('event time', () => {
  /** Plays [monotonic, wall] in ms, and says what is told of it. */
  function play(moments: readonly (readonly [number, number])[], start: EventClock | null = null) {
    let clock = start
    return moments.map(([monotonicMs, wallMs]) => {
      const moment = tick(clock, monotonicMs, wallMs)
      clock = moment.clock
      return [moment.eventTimeMs, moment.change?.kind ?? '-']
    })
  }

  test('goes by the monotonic clock while the wall clock only jitters', () => {
    expect(
      play([
        [0, 100_000],
        [1000, 101_004],
        [2000, 101_993],
        [3000, 103_019]
      ])
    ).toEqual([
      [100_000, '-'],
      [101_000, '-'],
      [102_000, '-'],
      [103_000, '-']
    ])
  })

  test('steps with the wall clock, and says so once', () => {
    expect(
      play([
        [0, 100_000],
        [1000, 161_000],
        [2000, 162_000]
      ])
    ).toEqual([
      [100_000, '-'],
      [161_000, 'step'],
      [162_000, '-']
    ])
  })

  //  monotonic    0     1     2   …  11     12  (s)     the wall clock goes back by 2 s after the first second:
  //  wall       100   101   100       109    110        event time stands, then goes at 9/10, until both are the same
  test('never runs back where the wall clock does: it goes slower until that has caught up, and says when it begins and ends', () => {
    const moments = Array.from({ length: 40 }, (_, i) => [i * 1000, 100_000 + i * 1000 - (i >= 2 ? 2500 : 0)] as const)
    const played = play(moments)
    const times = played.map(([time]) => Number(time))
    expect(times).toEqual([...times].sort((a, b) => a - b))
    expect(played.map(([, change]) => change).filter(change => change !== '-')).toEqual(['slew', 'caught-up'])
    expect(times.at(-1)).toBe(100_000 + 39_000 - 2500)
  })

  test('goes on from the last one of another life, however the clock is set', () => {
    expect(play([[5, 100_000]], resumeClock(100_500))).toEqual([[100_500, 'slew']])
    expect(play([[5, 100_000]], resumeClock(90_000))).toEqual([[100_000, '-']])
    expect(tick(resumeClock(200_000), 5, 100_000)).toMatchObject({ newEpoch: true, eventTimeMs: 100_000 })
  })

  test('never runs back within an epoch, whatever the clocks do', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(20_000), fc.integer({ min: -90_000, max: 90_000 }))), steps => {
        let [clock, monotonicMs, offset]: [EventClock | null, number, number] = [null, 0, NOW]
        for (const [passedMs, stepMs] of steps) {
          monotonicMs += passedMs
          offset += stepMs
          const before: EventClock | null = clock
          const moment = tick(clock, monotonicMs, monotonicMs + offset)
          if (before !== null && !moment.newEpoch) expect(moment.eventTimeMs).toBeGreaterThanOrEqual(before.eventTimeMs)
          clock = moment.clock
        }
      })
    )
  })
})

describe('held readings', () => {
  const BOOTED = NOW - 300_000

  const span = (bootId: string, firstMonotonicMs: number, lastMonotonicMs: number, wallOffsetMs = 0): HeldSpan => {
    return { firstPosition: firstMonotonicMs + 1, bootId, wallOffsetMs, firstMonotonicMs, lastMonotonicMs }
  }

  test('of this boot get exactly the time at which they were taken', () => {
    expect(rebaseHeld([span('now', 10_000, 290_000)], 'now', BOOTED, null)).toEqual([
      { firstPosition: 10_001, offsetMs: BOOTED, floorMs: 0, isExact: true }
    ])
  })

  //  boot 1970     |--1: held--|                          nobody knows when; its last reading lies at the latest
  //  this boot                 |--2: held--| set          where the next boot begins
  test('of an earlier boot end at the latest where the next boot begins', () => {
    const [earlier, now] = rebaseHeld([span('earlier', 5000, 65_000), span('now', 10_000, 20_000)], 'now', BOOTED, null)
    expect(earlier).toMatchObject({ offsetMs: BOOTED - 65_000, isExact: false })
    expect(now).toMatchObject({ offsetMs: BOOTED, isExact: true })
  })

  test('of an earlier boot keep the wall clock of then where it is possible', () => {
    const wallOffset = BOOTED - DAY
    expect(rebaseHeld([span('earlier', 5000, 65_000, wallOffset)], 'now', BOOTED, null)[0].offsetMs).toBe(wallOffset)
    // possible is neither what lies before the last reading, nor what lies behind this boot's beginning
    expect(rebaseHeld([span('earlier', 5000, 65_000, wallOffset)], 'now', BOOTED, BOOTED - 1000)[0].offsetMs).toBe(BOOTED - 65_000)
    expect(rebaseHeld([span('earlier', 5000, 65_000, BOOTED + DAY)], 'now', BOOTED, null)[0].offsetMs).toBe(BOOTED - 65_000)
  })

  test('never come before what was there already, nor before each other', () => {
    const spans = fc.array(fc.record({ length: fc.nat(1e6), wallOffset: fc.integer({ min: 0, max: NOW + DAY }) }), {
      minLength: 1,
      maxLength: 5
    })
    fc.assert(
      fc.property(spans, fc.option(fc.integer({ min: CLOCK_EARLIEST_MS, max: NOW })), fc.boolean(), (lengths, last, hasThisBoot) => {
        const held = lengths.map(({ length, wallOffset }, i) => {
          const boot = hasThisBoot && i === lengths.length - 1 ? 'now' : `boot ${i}`
          return { ...span(boot, 1000, 1000 + length, wallOffset), firstPosition: i + 1 }
        })
        let before = last ?? 0
        for (const [i, { offsetMs, floorMs }] of rebaseHeld(held, 'now', BOOTED, last).entries()) {
          const first = Math.max(floorMs, held[i].firstMonotonicMs + offsetMs)
          expect(first).toBeGreaterThanOrEqual(before)
          before = Math.max(floorMs, held[i].lastMonotonicMs + offsetMs)
        }
      })
    )
  })
})
