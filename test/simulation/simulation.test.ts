/** Seeds of the simulation: they keep the promises of the design, and each comes out the same when it is run again. */
import { execFileSync, spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { type SimulationCounts, simulate } from '../../load/src/simulation/simulation.js'

const CLI = fileURLToPath(new URL('../../load/dist/simulate.js', import.meta.url))
const SEEDS_PER_TEST = 25
const totals: Partial<Record<keyof SimulationCounts, number>> = {}

describe('no promise is broken, whatever fails', () => {
  test.each([0, 1, 2, 3, 4, 5, 6, 7])(
    `in seeds ${SEEDS_PER_TEST} x %i and on`,
    part => {
      for (let seed = 1 + part * SEEDS_PER_TEST; seed <= (part + 1) * SEEDS_PER_TEST; seed++) {
        const { violations, counts } = simulate(seed)
        expect(violations, `replay: npm run simulate -- --seed ${seed}`).toEqual([])
        for (const [name, count] of Object.entries(counts)) {
          const key = name as keyof SimulationCounts
          totals[key] = (totals[key] ?? 0) + count
        }
      }
    },
    120_000
  )

  test('and much does fail in them', () => {
    expect(totals.sampled).toBeGreaterThan(20_000)
    const often = ['late', 'quarantined', 'shed', 'duplicates', 'corrections', 'snapshots', 'agentCrashes', 'gatewayCrashes'] as const
    for (const name of often) expect(totals[name], name).toBeGreaterThan(400)
    const seldom = ['destroyed', 'repairs', 'tornTails', 'damagedSnapshots', 'epochs', 'gatewayClockSteps'] as const
    for (const name of seldom) expect(totals[name], name).toBeGreaterThan(20)
    const between = ['agentClockSteps', 'lostMessages', 'doubledMessages', 'overtakingMessages', 'cutConnections'] as const
    for (const name of between) expect(totals[name], name).toBeGreaterThan(100)
  })
})

describe('what a seed has found stays fixed', () => {
  test.each([
    ['batches acked behind a refused one that was shed were held until the next PUBACK, for ever when the window was full', 538],
    ['the same, behind a refused reading of a device that kept crashing', 3115]
  ])('%s (seed %i)', (_, seed) => {
    expect(simulate(seed).violations).toEqual([])
  })
})

describe('a seed', () => {
  test.each([3, 17, 101])('reproduces its run to the byte: %i', seed => {
    expect(simulate(seed)).toEqual(simulate(seed))
  })

  test('is a run of its own', () => {
    expect(new Set([1, 2, 3, 4].map(seed => simulate(seed).digest)).size).toBe(4)
  })
})

describe('the command line', () => {
  test('prints the digest of a seed, the same in every process', () => {
    const [first, second] = [1, 2].map(
      () => JSON.parse(execFileSync(process.execPath, [CLI, '--seed', '5', '--seeds', '2', '--json'], { encoding: 'utf8' })) as object
    )
    expect(first).toMatchObject({ seeds: 2, failed: null, digest: expect.stringMatching(/^[0-9a-f]{64}$/) })
    expect({ ...second, seedsPerS: 0 }).toEqual({ ...first, seedsPerS: 0 })
  })

  test('says what is wrong with its arguments and exits with 2', () => {
    const { status, stderr } = spawnSync(process.execPath, [CLI, '--seeds', 'many'], { encoding: 'utf8' })
    expect(status).toBe(2)
    expect(stderr).toContain('give a whole number from 1')
  })
})
