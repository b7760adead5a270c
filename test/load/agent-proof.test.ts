/** The agent's proof: it holds for the agent, and its parts notice what they are to notice. */
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { expectedReadings, matchReadings } from '../../load/src/agent-proof/machine.js'
import { planLives } from '../../load/src/agent-proof/plan.js'
import { ROOT, runToEnd } from '../kit/processes.js'

const mayMount = spawnSync('unshare', ['--mount', 'mount', '-t', 'tmpfs', 'tmpfs', '/mnt']).status === 0
if (!mayMount) process.stderr.write('SKIPPED: the proof of the agent needs the right to mount a small disk\n')

const expected = expectedReadings(5, 1, 300)
/** Rows of an epoch as the archive has them: reading n under seq n + `shift`. */
const rows = (epoch: number, from: number, to: number, shift: number) =>
  expected.slice(from, to).map((text, i) => ({ epoch, seq: from + i + shift, values: text.split('|') }))

test.skipIf(!mayMount)('it holds for a short outage of an agent that spills', async () => {
  const args = ['--readings', '2500', '--kills', '7', '--seed', '11', '--durability', 'spill', '--json']
  const { code, stdout, stderr } = await runToEnd(join(ROOT, 'load/dist/verify-agent.js'), args)
  expect(code, `${stdout}${stderr}`).toBe(0)
  const proof = JSON.parse(stdout)
  const ledger = { missing: 0, doubled: 0, buffered: 0 }
  expect(proof).toMatchObject({ readings: 2500, fullDisks: 2, strangers: 0, violations: [], ledger })
  expect(proof.archivedReadings).toBeGreaterThan(500)
  expect(proof.spoiltPages).toBeGreaterThan(0)
})

test('a plan is a function of its seed, and has each trouble once', () => {
  expect(planLives(3, 99)).toEqual(planLives(3, 99))
  expect(planLives(3, 99)).not.toEqual(planLives(4, 99))
  for (const [seed, kills] of [3, 4, 5, 6, 7].flatMap(s => [6, 7, 20, 99].map(k => [s, k]))) {
    const lives = planLives(seed, kills)
    expect(lives).toHaveLength(kills)
    const troubles = lives.map(life => life.trouble).filter(trouble => trouble !== 'none')
    expect(troubles, `${seed} ${kills}`).toEqual(['full', 'damaged', 'killed-full'])
    expect(lives.at(-1)?.while).toBe('draining')
  }
})

test('rows are found again as readings, whatever seqs a crash has spent', () => {
  const { strangers, times } = matchReadings(expected, [...rows(1, 0, 100, 1), ...rows(1, 100, 150, 41), ...rows(2, 160, 300, -159)])
  expect(strangers).toEqual([])
  expect([...times]).toEqual(expected.map((_, n) => (n >= 150 && n < 160 ? 0 : 1)))
})

test('a row with another value, in another order or archived twice is no reading', () => {
  const all = rows(1, 0, 100, 1)
  const wrong = all.map((row, i) => (i === 50 ? { ...row, values: row.values.with(0, '99.9') } : row))
  expect(matchReadings(expected, wrong).strangers).toEqual([wrong[50]])
  const swapped = all.map((row, i) => (i === 40 ? { ...row, values: all[41].values } : i === 41 ? { ...row, values: all[40].values } : row))
  expect(matchReadings(expected, swapped).strangers.length).toBeGreaterThan(0)
  const twice = matchReadings(expected, [...all, ...rows(2, 99, 120, -98)])
  expect(twice.times[99]).toBe(2)
})
