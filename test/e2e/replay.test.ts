import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { ROOT, runToEnd } from '../kit/processes.js'

// `npm run verify:replay`, shortened: real processes, really killed.

const RECORDING = join(ROOT, '../shared/data/skab/valve1-0.csv')
const ROWS = 600

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'tidemark-replay-e2e-'))
})
afterEach(() => rmSync(folder, { recursive: true }))

const verifyReplay = (...args: string[]) => runToEnd(join(ROOT, 'load/dist/verify-replay.js'), args, { env: { TMPDIR: folder } })

/** The first rows of a real recording, where it is there. */
function shortRecording(): string {
  const path = join(folder, 'recording.csv')
  if (existsSync(RECORDING)) {
    writeFileSync(
      path,
      readFileSync(RECORDING, 'utf8')
        .split('\n')
        .slice(0, ROWS + 1)
        .join('\n')
    )
  } else {
    console.warn(`${RECORDING} IS ABSENT: this test replays a generated recording, not a real one`)
    writeFileSync(path, generatedRecording())
  }
  return path
}

/** In the format of SKAB: eight columns, a second apart, with gaps and a doubled time. */
function generatedRecording(): string {
  const header = 'datetime;Accelerometer1RMS;Accelerometer2RMS;Current;Pressure;Temperature;Thermocouple;Voltage;Volume Flow RateRMS'
  const wave = (i: number, period: number) => Math.sin((2 * Math.PI * i) / period)
  const rows = Array.from({ length: ROWS }, (_, i) => {
    const time = new Date(Date.UTC(2020, 2, 9, 10, 14, 33) + (i + (i > 200 ? 75 : 0) - (i === 300 ? 1 : 0)) * 1000)
    const vibration = 0.03 + 0.01 * wave(i, 7) + (i === 450 ? 0.2 : 0)
    const values = [vibration, vibration * 1.3, 1.3 + wave(i, 13) / 3, wave(i, 17), 79 + wave(i, 400), 26, 230 + wave(i, 50), 32]
    return [time.toISOString().slice(0, 19).replace('T', ' '), ...values].join(';')
  })
  return [header, ...rows].join('\r\n')
}

test('a recording comes out of the archive as it went in, although both processes are killed twice', async () => {
  const json = join(folder, 'verdict.json')
  const args = ['--csv', shortRecording(), '--profile', 'water-loop', '--kills', '2', '--seed', '11', '--json', json]
  const { code, stdout, stderr } = await verifyReplay(...args)
  expect(code, `${stdout}${stderr}`).toBe(0)
  const verdict = JSON.parse(readFileSync(json, 'utf8'))
  expect(verdict).toMatchObject({ rows: ROWS, archived: ROWS, missing: 0, doubled: 0, mismatched: 0, feature_mismatches: 0, ok: true })
  expect(verdict).toMatchObject({ agent_kills: 2, gateway_kills: 2, kills_with_unacked: 2, ledger_balanced: true })
  expect(verdict.feature_rows).toBeGreaterThan(5)
  expect(verdict.kills_between_commit_and_rename).toBeGreaterThanOrEqual(1)
  expect(verdict.duplicates_delivered).toBeGreaterThan(0)
  expect(verdict.duplicates_counted).toBeGreaterThanOrEqual(verdict.duplicates_delivered)
  expect(readdirSync(folder).sort(), 'the temporary folder is gone').toEqual(['recording.csv', 'verdict.json'])
}, 180_000)

test.each([
  ['a recording that is not there', ['--csv', 'no-such.csv', '--profile', 'water-loop'], 'cannot read no-such.csv'],
  ['a profile that nobody knows', ['--csv', 'any.csv', '--profile', 'water-lop'], 'there is no built-in profile "water-lop"'],
  [
    'a profile file that is not there',
    ['--csv', 'any.csv', '--profile', 'x', '--profile-file', 'no.yaml'],
    'cannot read the profile no.yaml'
  ],
  [
    'a folder for the figures that is not there',
    ['--csv', 'any.csv', '--profile', 'water-loop', '--json', 'no/such/folder.json'],
    'correct --json'
  ],
  ['a number of kills that is none', ['--csv', 'any.csv', '--profile', 'water-loop', '--kills', 'some'], 'give a whole number']
])('%s is said in a clear line, with exit code 2', async (_, args, message) => {
  const { code, stderr } = await verifyReplay(...args)
  expect(code).toBe(2)
  expect(stderr).toContain(message)
})

test('a folder to keep that holds something already is refused, and left as it is', async () => {
  const keep = join(folder, 'keep')
  mkdirSync(keep)
  writeFileSync(join(keep, 'precious'), '')
  const { code, stderr } = await verifyReplay('--csv', shortRecording(), '--profile', 'water-loop', '--keep', keep)
  expect(code).toBe(2)
  expect(stderr).toContain(`${keep} is not empty`)
  expect(readdirSync(keep)).toEqual(['precious'])
})
