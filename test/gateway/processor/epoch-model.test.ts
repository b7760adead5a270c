/** `Epoch` and `ShedSeqs` against sets of seqs that remember everything. */
import type { Tombstone } from '@tidemark/protocol'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { Epoch } from '../../../gateway/src/processor/epoch.js'
import { ShedSeqs } from '../../../gateway/src/processor/shed.js'

const SEQS = 40

type Action =
  | { readonly type: 'see'; readonly seq: number; readonly quarantined: boolean }
  | { readonly type: 'bury'; readonly firstSeq: number; readonly length: number; readonly keepEvery: number }
  | { readonly type: 'settle'; readonly oldestHeldSeq: number }
  | { readonly type: 'restart' }

const seq = fc.integer({ min: 1, max: SEQS })
const keepEvery = fc.constantFrom(0, 0, 2, 3, 4, 6)
const action: fc.Arbitrary<Action> = fc.oneof(
  { weight: 8, arbitrary: fc.record({ type: fc.constant('see' as const), seq, quarantined: fc.boolean() }) },
  {
    weight: 2,
    arbitrary: fc.record({ type: fc.constant('bury' as const), firstSeq: seq, length: fc.integer({ min: 1, max: 15 }), keepEvery })
  },
  { weight: 1, arbitrary: fc.record({ type: fc.constant('settle' as const), oldestHeldSeq: seq }) },
  { weight: 1, arbitrary: fc.constant({ type: 'restart' as const }) }
)

/** What DESIGN says of one epoch, seq by seq. */
class Model {
  readonly seen = new Map<number, number>()
  readonly shed = new Set<number>()
  readonly missing = new Set<number>()
  highest = 0
  oldestHeldSeq = 1
  archived = 0
  quarantined = 0

  sight(seq: number): string {
    return this.shed.has(seq) ? 'shed' : this.seen.has(seq) ? 'duplicate' : 'new'
  }

  see(seq: number, eventTimeMs: number): void {
    this.seen.set(seq, eventTimeMs)
    this.missing.delete(seq)
  }

  bury({ firstSeq, lastSeq, keepEvery }: Tombstone): void {
    for (let seq = firstSeq; seq <= Math.min(lastSeq, this.highest); seq++) {
      if (this.seen.has(seq) || (keepEvery !== 0 && seq % keepEvery === 0)) continue
      this.shed.add(seq)
      this.missing.delete(seq)
    }
  }

  settle(oldestHeldSeq: number): void {
    this.oldestHeldSeq = Math.max(this.oldestHeldSeq, oldestHeldSeq)
    for (let seq = 1; seq < oldestHeldSeq; seq++) if (!this.seen.has(seq) && !this.shed.has(seq)) this.missing.add(seq)
  }

  /** The latest event time of a seen seq with nothing unsettled below it, or below the oldest held. */
  get settledEventTimeMs(): number {
    let latestMs = Number.NEGATIVE_INFINITY
    for (let seq = 1; seq <= SEQS; seq++) {
      if (!this.seen.has(seq) && !this.shed.has(seq) && !this.missing.has(seq)) break
      latestMs = Math.max(latestMs, this.seen.get(seq) ?? latestMs)
    }
    return latestMs
  }

  get buffered(): number {
    let held = 0
    for (let seq = 1; seq <= this.highest; seq++) if (!this.seen.has(seq) && !this.shed.has(seq) && !this.missing.has(seq)) held++
    return held
  }
}

/** Both, driven as the processor drives an epoch. */
class Pair {
  readonly model = new Model()
  epoch = new Epoch(7)
  settledMs = Number.NEGATIVE_INFINITY

  raise(highest: number): void {
    this.model.highest = Math.max(this.model.highest, highest)
    this.epoch.highestSampledSeq = this.model.highest
  }

  run(action: Action): void {
    const { model } = this
    switch (action.type) {
      case 'see': {
        this.raise(action.seq)
        const timeMs = action.seq * 1000 // rises with seq: what is seen again is never later than all others
        const sight = this.epoch.sight(action.seq, timeMs)
        expect(sight).toBe(model.sight(action.seq))
        if (sight !== 'new') return
        this.epoch.counts[action.quarantined ? 'quarantined' : 'archived']++
        model[action.quarantined ? 'quarantined' : 'archived']++
        model.see(action.seq, timeMs)
        this.settledMs = Math.max(this.settledMs, this.epoch.see(action.seq, timeMs, 0))
        return
      }
      case 'bury': {
        const lastSeq = Math.min(SEQS, action.firstSeq + action.length)
        this.raise(lastSeq)
        const tombstone = { firstSeq: action.firstSeq, lastSeq, keepEvery: action.keepEvery, reason: 'thinned' }
        this.settledMs = Math.max(this.settledMs, this.epoch.bury(tombstone))
        model.bury(tombstone)
        return
      }
      case 'settle':
        this.raise(action.oldestHeldSeq - 1)
        this.settledMs = Math.max(this.settledMs, this.epoch.settleBelow(action.oldestHeldSeq))
        model.settle(action.oldestHeldSeq)
        return
      case 'restart':
        this.epoch = new Epoch(7, structuredClone(this.epoch.toSnapshot()))
        return
      default:
        action satisfies never
    }
  }

  compare(): void {
    const { epoch, model } = this
    const { archived, quarantined, shed, missing } = epoch.counts
    expect({ archived, quarantined, shed, missing, buffered: epoch.buffered, settledMs: this.settledMs }).toEqual({
      archived: model.archived,
      quarantined: model.quarantined,
      shed: model.shed.size,
      missing: model.missing.size,
      buffered: model.buffered,
      settledMs: model.settledEventTimeMs
    })
    expect(archived + quarantined + shed + epoch.buffered + missing).toBe(epoch.highestSampledSeq)
  }
}

describe('an epoch', () => {
  test('counts, sights and settles like sets of seqs, and its ledger balances after every action', () => {
    fc.assert(
      fc.property(fc.array(action, { maxLength: 80 }), actions => {
        const pair = new Pair()
        for (const step of actions) {
          pair.run(step)
          pair.compare()
        }
        for (let seq = 1; seq <= SEQS; seq++) expect(pair.epoch.sight(seq, seq * 1000), `seq ${seq}`).toBe(pair.model.sight(seq))
      }),
      { numRuns: 2000 }
    )
  })
})

const range = fc
  .record({ firstSeq: seq, length: fc.integer({ min: 0, max: 25 }), keepEvery: fc.constantFrom(0, 2, 3, 4, 5, 6, 8) })
  .map(({ firstSeq, length, keepEvery }) => ({ firstSeq, lastSeq: firstSeq + length, keepEvery }))

describe('shed seqs', () => {
  test('are those that some tombstone covers and does not keep', () => {
    fc.assert(
      fc.property(fc.array(range, { maxLength: 12 }), seq, seq, (ranges, a, b) => {
        const shed = new ShedSeqs()
        const naive = new Set<number>()
        for (const { firstSeq, lastSeq, keepEvery } of ranges) {
          let fresh = 0
          for (let s = firstSeq; s <= lastSeq; s++) {
            if ((keepEvery !== 0 && s % keepEvery === 0) || naive.has(s)) continue
            naive.add(s)
            fresh++
          }
          expect(shed.add({ firstSeq, lastSeq, keepEvery })).toBe(fresh)
        }
        const [first, last] = [Math.min(a, b), Math.max(a, b)]
        let kept = 0
        for (let s = first; s <= last; s++) if (!naive.has(s)) kept++
        expect(shed.countKept(first, last)).toBe(kept)
        for (let s = 1; s <= 70; s++) {
          expect(shed.has(s)).toBe(naive.has(s))
          let end = s - 1
          while (naive.has(end + 1)) end++
          expect(shed.endOfRun(s)).toBe(end)
        }
      }),
      { numRuns: 1000 }
    )
  })

  test('stay disjoint pieces in rising order that each shed something', () => {
    fc.assert(
      fc.property(fc.array(range, { maxLength: 20 }), fc.integer({ min: 0, max: 60 }), (ranges, forgotten) => {
        const shed = new ShedSeqs()
        for (const each of ranges) shed.add(each)
        shed.forgetThrough(forgotten)
        let last = forgotten
        for (const piece of shed.toArray()) {
          expect(piece.firstSeq).toBeGreaterThan(last)
          expect(piece.lastSeq).toBeGreaterThanOrEqual(piece.firstSeq)
          last = piece.lastSeq
        }
      })
    )
  })

  test('are counted exactly up to the largest seq there is', () => {
    const shed = new ShedSeqs()
    const last = Number.MAX_SAFE_INTEGER
    expect(shed.add({ firstSeq: 1, lastSeq: last, keepEvery: 3 })).toBe(last - Math.floor(last / 3))
    expect(shed.add({ firstSeq: 1, lastSeq: last, keepEvery: 2 ** 52 })).toBe(3_002_399_751_580_330)
    expect(shed.countKept(1, last)).toBe(0)
  })
})
