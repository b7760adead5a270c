import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { ROOT, runToEnd } from '../kit/processes.js'

// `npm run verify:prediction`, shortened: history through a real gateway, labels, a training set, a baseline.

const VERIFY = join(ROOT, 'load/dist/verify-prediction.js')

function folder(): string {
  const path = mkdtempSync(join(tmpdir(), 'tidemark-prediction-e2e-'))
  onTestFinished(() => rmSync(path, { recursive: true }))
  return path
}

test('features as they were known predict failures, and a join that leaks looks better than the truth', async () => {
  const dir = folder()
  const json = join(dir, 'prediction.json')
  const size = ['--devices', '80', '--days', '9', '--interval', '30m', '--publish-every', '3h', '--seed', '3']
  const { code, stdout, stderr } = await runToEnd(VERIFY, [...size, '--json', json], { env: { TMPDIR: dir } })
  expect(code, `${stdout}${stderr}`).toBe(0)
  const found = JSON.parse(readFileSync(json, 'utf8'))
  expect(found.ok).toBe(true)
  expect(found.known.auc).toBeGreaterThan(0.9)
  expect(found.signal).toBeGreaterThan(0.2)
  expect(found.leaked).toBeGreaterThan(1000)
  expect(found.in_the_end.average_precision).toBeGreaterThan(found.known.average_precision)
  for (const { auc } of found.shuffled) expect(Math.abs(auc - 0.5)).toBeLessThan(0.15)
  expect(readdirSync(dir), 'the temporary folder is gone').toEqual(['prediction.json'])
}, 300_000)

test.each([
  ['a number that is none', ['--devices', 'many'], 'give a whole number'],
  ['a folder for the figures that is not there', ['--json', '/no/such/folder.json'], 'correct --json'],
  ['a folder to keep that holds something', ['--keep', ROOT], 'is not empty']
])('%s is said in a clear line, with exit code 2', async (_, args, message) => {
  const { code, stderr } = await runToEnd(VERIFY, args)
  expect(code).toBe(2)
  expect(stderr).toContain(message)
})
