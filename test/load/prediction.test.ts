import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { areaUnderCurve, averagePrecision } from '../../load/src/prediction/auc.js'
import { judge, judgeShuffled, splitExamples, TooSmallError } from '../../load/src/prediction/evaluate.js'
import type { Examples } from '../../load/src/prediction/examples.js'
import { fitModel } from '../../load/src/prediction/model.js'
import { Draw } from '../../load/src/replay/draw.js'

const HOUR_MS = 3_600_000

test('the area under the curve is the share of pairs that are in order, ties counting half', () => {
  const example = fc.record({ score: fc.integer({ min: 0, max: 5 }), label: fc.constantFrom(0, 1) })
  fc.assert(
    fc.property(fc.array(example, { minLength: 2, maxLength: 30 }), examples => {
      const of = (label: number) => examples.filter(each => each.label === label).map(each => each.score)
      const [positives, negatives] = [of(1), of(0)]
      fc.pre(positives.length > 0 && negatives.length > 0)
      const pairs = positives.flatMap(p => negatives.map(n => (p > n ? 1 : p === n ? 0.5 : 0)))
      const expected = pairs.reduce((sum: number, pair) => sum + pair, 0) / pairs.length
      const got = areaUnderCurve(
        examples.map(each => each.score),
        examples.map(each => each.label)
      )
      expect(got).toBeCloseTo(expected, 12)
    })
  )
  expect(areaUnderCurve([1, 2], [0, 0])).toBeNaN()
})

test('average precision is 1 when all positives come first, and their share when they come anywhere', () => {
  expect(averagePrecision([4, 3, 2, 1], [1, 1, 0, 0])).toBe(1)
  expect(averagePrecision([4, 3, 2, 1], [0, 1, 0, 1])).toBe((1 / 2 + 2 / 4) / 2)
})

/** Machines of which every other fails at a known hour; what a sensor shows rises for two days before. */
function fleet(noise: number, machines = 40, hours = 600): Examples {
  const draw = new Draw(7)
  const [deviceIds, times, labels, fails, rows]: [string[], number[], number[], number[], Float64Array[]] = [[], [], [], [], []]
  for (let m = 0; m < machines; m++) {
    const failures = m % 4 < 2 ? [60 + 6 * m, 400 + 4 * m] : []
    for (let hour = 0; hour < hours; hour++) {
      const next = failures.find(at => at > hour) ?? 10_000
      deviceIds.push(`m-${String(m).padStart(2, '0')}`)
      times.push(hour * HOUR_MS)
      labels.push(next - hour <= 24 ? 1 : 0)
      fails.push(next * HOUR_MS)
      const wear = Math.max(0, 1 - (next - hour) / 48)
      rows.push(Float64Array.of(wear + noise * (draw.fraction() - 0.5), draw.fraction(), hour % 7 === 0 ? Number.NaN : 1))
    }
  }
  const known = { known: rows, inTheEnd: rows, lookingAhead: rows, newerInTheEnd: 0, features: ['wear', 'luck', 'constant'] }
  return { deviceIds, timesMs: Float64Array.from(times), labels: Uint8Array.from(labels), failsMs: Float64Array.from(fails), ...known }
}

describe('the split', () => {
  const examples = fleet(0.2)
  const halves = splitExamples(examples, 24 * HOUR_MS)

  test('tests on machines that were not trained on, later, with the horizon left out between', () => {
    for (const { train, test } of halves) {
      const machines = (part: readonly number[]) => new Set(part.map(i => examples.deviceIds[i]))
      expect([...machines(train)].filter(id => machines(test).has(id))).toEqual([])
      const lastTrained = Math.max(...train.map(i => examples.timesMs[i]))
      expect(Math.min(...test.map(i => examples.timesMs[i])) - lastTrained).toBeGreaterThanOrEqual(24 * HOUR_MS)
    }
    const tested = halves.flatMap(({ test }) => test)
    expect(new Set(tested).size, 'nothing is tested twice').toBe(tested.length)
  })

  test('refuses what holds no failure', () => {
    expect(() => splitExamples({ ...examples, labels: new Uint8Array(examples.labels.length) }, HOUR_MS)).toThrow(TooSmallError)
  })
})

describe('the judgement', () => {
  test('finds signal where there is some, warns before the failures, and finds none in shuffled labels', () => {
    const examples = fleet(0.2)
    const halves = splitExamples(examples, 24 * HOUR_MS)
    const judged = judge(examples, halves, examples.known, examples.known, 1)
    expect(judged.auc).toBeGreaterThan(0.97)
    expect(judged.lead).toMatchObject({ failures: 20, warned: 20 })
    expect(judged.lead.medianHours).toBeGreaterThan(24)
    expect(judged.lead.medianHours).toBeLessThan(48)
    expect(Math.abs(judgeShuffled(examples, halves, examples.known, 1).auc - 0.5)).toBeLessThan(0.08)
  })

  test('is no better than luck on features that say nothing', () => {
    const examples = fleet(0.2)
    const luck = examples.known.map(row => Float64Array.of(row[1]))
    const halves = splitExamples(examples, 24 * HOUR_MS)
    expect(Math.abs(judge(examples, halves, luck, luck, 1).auc - 0.5)).toBeLessThan(0.08)
  })
})

test('the model scores by what it has learnt, null features counting as usual ones', () => {
  const rows = Array.from({ length: 400 }, (_, i) => Float64Array.of(i % 2, i % 3 === 0 ? Number.NaN : 5))
  const labels = rows.map(row => row[0])
  const [low, high, unknown] = fitModel(rows, labels, 1).score([
    Float64Array.of(0, 5),
    Float64Array.of(1, 5),
    Float64Array.of(Number.NaN, Number.NaN)
  ])
  expect(low).toBeLessThan(0.2)
  expect(high).toBeGreaterThan(0.8)
  expect(unknown).toBeGreaterThan(low)
  expect(unknown).toBeLessThan(high)
})
