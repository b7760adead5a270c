/** The log decoded in a thread of its own: the same entries, and the same flushes; a damaged log is named. */
import { join } from 'node:path'
import { encode } from '@msgpack/msgpack'
import { describe, expect, test } from 'vitest'
import { SqliteLog } from '../../../gateway/dist/log/sqlite-log.js'
import { DecodeAhead } from '../../../gateway/dist/pipeline/decode-ahead.js'
import { Processor } from '../../../gateway/dist/processor/processor.js'
import type { LogEntry } from '../../../gateway/src/log/schema.js'
import { EventIdsInMemory } from '../../kit/event-ids-in-memory.js'
import { tempDir } from '../../kit/temp-dir.js'
import { at, PUMP, timeline } from '../../kit/timeline.js'

/** More entries than all blocks hold. */
const READINGS = 600

/** One in twenty is out of range, so that its bytes are kept. */
function readings(): LogEntry[] {
  const t = timeline()
  for (let seq = 1; seq <= READINGS; seq++) {
    const values = { place: `hall ${seq}`, temperature: seq % 20 === 0 ? 151 : 20 }
    t.reading({ device: `d${seq % 7}`, seq: Math.ceil(seq / 7), eventTimeMs: at('10:00') + seq * 3000, values })
  }
  t.drain()
  return t.entries
}

function writeLog(entries: readonly LogEntry[]): string {
  const path = join(tempDir(), 'log.sqlite')
  const log = new SqliteLog(path)
  for (const { frames, ingestMs } of entries) log.append(frames, ingestMs)
  log.close()
  return path
}

describe('a log that is decoded ahead', () => {
  test('gives the same flushes, from any entry on', async () => {
    const entries = readings()
    const path = writeLog(entries)
    const [ahead, inline] = [new Processor(new EventIdsInMemory()), new Processor(new EventIdsInMemory())]
    for (const entry of entries.slice(0, 50)) ahead.apply(entry)
    const decoder = DecodeAhead.start({ path, afterEntry: 50, throughEntry: entries.length, profiles: [PUMP] })
    let decoded = 0
    const flushes: unknown[] = []
    for (let block = await decoder.next(); block.length > 0; block = await decoder.next()) {
      for (const entry of block) {
        expect(Buffer.compare(entry.frames, entries[entry.entry - 1].frames)).toBe(0)
        if (entry.decoded !== undefined && entry.decoded.first < entry.decoded.behind) decoded++
        const flush = ahead.apply(entry)
        if (flush !== null) flushes.push(flush)
      }
    }
    const expected = entries.map(entry => inline.apply(entry)).filter(flush => flush !== null)
    expect(expected.length).toBeGreaterThan(0)
    expect(Buffer.compare(encode(flushes), encode(expected))).toBe(0)
    expect(decoded).toBe(entries.length - 50)
  })

  test('comes in blocks of bounded size, however large its entries', async () => {
    const t = timeline()
    for (let entry = 2; entry <= 60; entry++) t.message('json', new Uint8Array(300_000).fill(entry))
    const decoder = DecodeAhead.start({ path: writeLog(t.entries), afterEntry: 0, throughEntry: 60, profiles: [PUMP] })
    const entries: number[] = []
    for (let block = await decoder.next(); block.length > 0; block = await decoder.next()) {
      expect(block.reduce((bytes, { frames }) => bytes + frames.length, 0)).toBeLessThan(4 * 1024 * 1024)
      for (const { entry, frames } of block) {
        expect(Buffer.compare(frames, t.entries[entry - 1].frames)).toBe(0)
        entries.push(entry)
      }
    }
    expect(entries).toEqual(t.entries.map(({ entry }) => entry))
  })

  test('ends where it was told to', async () => {
    const entries = readings()
    const decoder = DecodeAhead.start({ path: writeLog(entries), afterEntry: 0, throughEntry: 130, profiles: [] })
    let last = 0
    for (let block = await decoder.next(); block.length > 0; block = await decoder.next()) last = block.at(-1)!.entry
    expect(last).toBe(130)
  })

  test('that is damaged is said to be', async () => {
    const entries = readings().map(entry => (entry.entry === 100 ? { ...entry, frames: new Uint8Array([99, 1, 2]) } : entry))
    const decoder = DecodeAhead.start({ path: writeLog(entries), afterEntry: 0, throughEntry: entries.length, profiles: [] })
    const all = async () => {
      while ((await decoder.next()).length > 0);
    }
    await expect(all()).rejects.toThrow('the log holds an entry that is no list of frames')
    await decoder.close()
  })
})
