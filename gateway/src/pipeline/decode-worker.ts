/** The thread of `DecodeAhead`: fills the blocks that it is given, one after another, until the log ends. */
import { parentPort, workerData } from 'node:worker_threads'
import type { LogEntry } from '../log/schema.js'
import { SqliteLogReader } from '../log/sqlite-log.js'
import { EntryDecoder } from '../processor/decoded.js'
import type { DecodedBlock, DecodeOptions, FromDecoder, ToDecoder } from './messages.js'

/** Entries read from the log at a time. */
const ENTRIES_AT_ONCE = 64

/** Bytes of frames in a block, unless its only entry has more: decoded, a block takes up to ten times as much. */
const BLOCK_BYTES_MAX = 4 * 1024 * 1024

const port = parentPort!
const post = (message: FromDecoder, transfer: ArrayBuffer[] = []) => port.postMessage(message, transfer)

const { path, afterEntry, throughEntry, profiles } = workerData as DecodeOptions
const log = new SqliteLogReader(path)
const decoder = new EntryDecoder(profiles)
let lastRead = afterEntry
/** Read, and in no block yet. */
let read: LogEntry[] = []

port.on('message', (empty: ToDecoder) => {
  try {
    const entries = nextEntries()
    if (entries.length === 0) {
      log.close()
      port.removeAllListeners()
      post({ type: 'end' })
      return
    }
    const block = fill(empty, entries)
    post(block, [block.cells.buffer, block.frames.buffer])
  } catch (error) {
    port.removeAllListeners()
    post({ type: 'failed', message: error instanceof Error ? error.message : String(error) })
  }
})

/** The entries of the next block; none where all are out. */
function nextEntries(): LogEntry[] {
  if (read.length === 0) {
    read = log.read(lastRead, Math.min(ENTRIES_AT_ONCE, throughEntry - lastRead))
    lastRead = read.at(-1)?.entry ?? lastRead
  }
  let bytes = 0
  let count = 0
  while (count < read.length && (count === 0 || bytes + read[count].frames.length <= BLOCK_BYTES_MAX)) bytes += read[count++].frames.length
  return read.splice(0, count)
}

function fill(empty: ToDecoder, entries: readonly LogEntry[]): DecodedBlock {
  const frames = packed(empty.frames, entries)
  decoder.beginBlock(empty.cells)
  let to = 0
  const decoded = entries.map(entry => {
    const from = to
    to += entry.frames.length
    return { entry: entry.entry, ingestMs: entry.ingestMs, from, to, ...decoder.decode(entry) }
  })
  return { type: 'block', cells: decoder.cells, frames, entries: decoded, news: decoder.takeNews() }
}

/** The frames of the entries, one behind another; in `into` where they fit. */
function packed(into: Uint8Array<ArrayBuffer>, entries: readonly LogEntry[]): Uint8Array<ArrayBuffer> {
  const bytes = entries.reduce((sum, { frames }) => sum + frames.length, 0)
  const target = into.length >= bytes ? into : new Uint8Array(2 * bytes)
  let at = 0
  for (const { frames } of entries) {
    target.set(frames, at)
    at += frames.length
  }
  return target
}
