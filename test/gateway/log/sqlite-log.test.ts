import { join } from 'node:path'
import { expect, test } from 'vitest'
import { SqliteLog, SqliteLogReader } from '../../../gateway/src/log/sqlite-log.js'
import { tempDir } from '../../kit/temp-dir.js'

const FRAMES = Buffer.from('frames')

test('entries are numbered without a gap, across openings', () => {
  const path = join(tempDir(), 'log.sqlite')
  const first = new SqliteLog(path)
  expect([first.append(FRAMES, 1000), first.append(FRAMES, 1001)]).toEqual([1, 2])
  first.close()
  const second = new SqliteLog(path)
  expect(second.lastEntry).toBe(2)
  expect(second.append(FRAMES, 1002)).toBe(3)
  second.close()
})

test('ingest times never fall, also when the clock does and across openings', () => {
  const path = join(tempDir(), 'log.sqlite')
  const first = new SqliteLog(path)
  first.append(FRAMES, 5000)
  first.append(FRAMES, 4000)
  first.close()
  const second = new SqliteLog(path)
  second.append(FRAMES, 3000)
  second.append(FRAMES, 6000)
  const reader = new SqliteLogReader(path)
  expect(reader.read(0, 10).map(entry => entry.ingestMs)).toEqual([5000, 5000, 5000, 6000])
  reader.close()
  second.close()
})

test('what was truncated is gone, the last entry stays, and numbers go on', () => {
  const log = new SqliteLog(join(tempDir(), 'log.sqlite'))
  for (let i = 0; i < 10; i++) log.append(FRAMES, i)
  expect(log.truncate(100, 4)).toBe(true)
  expect(log.truncate(100, 4)).toBe(true)
  expect(log.truncate(100, 4)).toBe(false)
  expect(log.truncate(100, 4)).toBe(false)
  expect(log.append(FRAMES, 11)).toBe(11)
  log.close()
})

test('a reader sees what is behind an entry, and how many bytes', () => {
  const path = join(tempDir(), 'log.sqlite')
  const log = new SqliteLog(path)
  for (let i = 0; i < 5; i++) log.append(FRAMES, i)
  const reader = new SqliteLogReader(path)
  expect(reader.read(2, 2).map(entry => entry.entry)).toEqual([3, 4])
  expect(reader.bytesBehind(3)).toBe(2 * FRAMES.length)
  log.truncate(2, 10)
  expect(reader.firstEntry).toBe(3)
  reader.close()
  log.close()
})
