/** Bugs planted on purpose: the simulation must notice each, by the promise that it breaks. */
import { describe, expect, test } from 'vitest'
import { PLANTS, type Plant } from '../../load/src/simulation/plants.js'
import { simulate } from '../../load/src/simulation/simulation.js'

/** Most seeds that a bug may stay hidden in. */
const SEEDS_MAX = 60

describe(`within ${SEEDS_MAX} seeds the simulation notices`, () => {
  test.each(Object.entries(PLANTS) as [Plant, string][])(
    '%s, which breaks "%s"',
    (plant, promise) => {
      for (let seed = 1; seed <= SEEDS_MAX; seed++) {
        if (simulate(seed, plant).violations.some(violation => violation.promise === promise)) return
      }
      expect.fail(`${plant} went unnoticed`)
    },
    120_000
  )
})

test('every promise has a bug that breaks it', () => {
  expect(new Set(Object.values(PLANTS)).size).toBe(7) // six, and that the machinery goes on
})
