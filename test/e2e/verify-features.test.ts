import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { ROOT, runToEnd } from '../kit/processes.js'

// `npm run verify:features`, shortened: a real gateway, which repairs by itself what comes past its panes.

const RECORDING = join(ROOT, '../shared/data/skab/valve1-1.csv')
const ROWS = 400

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'tidemark-features-e2e-'))
})
afterEach(() => rmSync(folder, { recursive: true }))

const verifyFeatures = (...args: string[]) => runToEnd(join(ROOT, 'load/dist/verify-features.js'), args, { env: { TMPDIR: folder } })

/** The first rows of a real recording, where it is there. */
function shortRecording(): string {
  const path = join(folder, 'recording.csv')
  if (existsSync(RECORDING)) {
    const lines = readFileSync(RECORDING, 'utf8').split('\n')
    writeFileSync(path, lines.slice(0, ROWS + 1).join('\n'))
    return path
  }
  console.warn(`${RECORDING} IS ABSENT: this test delivers a generated recording, not a real one`)
  const rows = Array.from({ length: ROWS }, (_, i) => {
    const time = new Date(Date.UTC(2020, 2, 9, 10, 14, 33) + (i + (i > 200 ? 75 : 0)) * 1000).toISOString().slice(0, 19).replace('T', ' ')
    const wave = Math.sin(i / 7)
    return [time, 0.03 + wave / 100, 0.04, 1.3 + wave / 3, wave, 79 + wave, 26, 230 + wave, 32].join(';')
  })
  writeFileSync(path, ['datetime;A1;A2;Current;Pressure;Temperature;Thermocouple;Voltage;Flow', ...rows].join('\n'))
  return path
}

test('features are the same in order, behind a day offline, and with late readings that panes or a repair take in', async () => {
  const json = join(folder, 'verdict.json')
  const { code, stdout, stderr } = await verifyFeatures('--csv', shortRecording(), '--profile', 'water-loop', '--seed', '3', '--json', json)
  expect(code, `${stdout}${stderr}`).toBe(0)
  const { cases, ok } = JSON.parse(readFileSync(json, 'utf8'))
  expect(ok).toBe(true)
  const [inOrder, offline, late] = cases
  expect(inOrder).toMatchObject({ case: 'in-order', late: 0, mismatches: 0, repaired_rows: 0 })
  expect(offline).toMatchObject({ case: 'offline-day', late: 0, bystander_late: 0, mismatches: 0, repaired_rows: 0 })
  expect(late).toMatchObject({ case: 'late', mismatches: 0, repair_marks_left: 0 })
  expect(late.late).toBeGreaterThan(10)
  expect(late.late).toBe(late.late_expected)
  expect(late.delayed_within_panes).toBeGreaterThan(0)
  expect(late.delayed_past_panes).toBeGreaterThan(0)
  expect(late.repaired_rows).toBeGreaterThan(0)
  for (const each of cases) expect(each.rows_compared).toBeGreaterThan(5)
  expect(readdirSync(folder).sort(), 'the temporary folder is gone').toEqual(['recording.csv', 'verdict.json'])
}, 240_000)

test.each([
  ['a recording that is not there', ['--csv', 'no-such.csv', '--profile', 'water-loop'], 'cannot read no-such.csv'],
  ['a profile that nobody knows', ['--csv', 'any.csv', '--profile', 'water-lop'], 'there is no built-in profile "water-lop"'],
  ['a seed that is none', ['--csv', 'any.csv', '--profile', 'water-loop', '--seed', 'x'], 'give a whole number']
])('%s is said in a clear line, with exit code 2', async (_, args, message) => {
  const { code, stderr } = await verifyFeatures(...args)
  expect(code).toBe(2)
  expect(stderr).toContain(message)
})
