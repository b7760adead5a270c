import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { ingestClock } from '../../../gateway/src/log/ingest-clock.js'

function file(text: string): string {
  const folder = mkdtempSync(join(tmpdir(), 'tidemark-clock-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  const path = join(folder, 'clock')
  writeFileSync(path, text)
  return path
}

test('without a file the time is that of this machine', () => {
  expect(ingestClock(undefined)).toBe(Date.now)
  expect(ingestClock('')).toBe(Date.now)
})

test('with a file the time is what stands there, and stays where it was when that cannot be read', () => {
  const path = file('1000\n')
  const nowMs = ingestClock(path)
  expect(nowMs()).toBe(1000)
  writeFileSync(path, '2000')
  expect(nowMs()).toBe(2000)
  writeFileSync(path, 'soon')
  expect(nowMs()).toBe(2000)
  rmSync(path)
  expect(nowMs()).toBe(2000)
})

test('a file that holds no time to begin with is refused: the present would be stamped on the past', () => {
  expect(() => ingestClock(file('soon'))).toThrow('holds no Unix ms')
  expect(() => ingestClock('/no/such/file')).toThrow('holds no Unix ms')
})
