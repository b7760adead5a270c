/** The thread of `DecodeAhead`: fills the blocks that it is given, one after another, until the log ends. */
import { parentPort, workerData } from 'node:worker_threads'
import type { LogEntry } from '../log/schema.js'
import { SqliteLogReader } from '../log/sqlite-log.js'
import { EntryDecoder } from '../processor/decoded.js'
import type { DecodedBlock, DecodeOptions, FromDecoder, ToDecoder } from './messages.js'

/** Entries of a block. */
const ENTRIES_AT_ONCE = 64

const port = parentPort!
const post = (message: FromDecoder, transfer: ArrayBuffer[] = []) => port.postMessage(message, transfer)

const { path, afterEntry, throughEntry, profiles } = workerData as DecodeOptions
const log = new SqliteLogReader(path)
const decoder = new EntryDecoder(profiles)
let lastEntry = afterEntry

port.on('message', (empty: ToDecoder) => {
  try {
    const entries = log.read(lastEntry, Math.min(ENTRIES_AT_ONCE, throughEntry - lastEntry))
    if (entries.length === 0) {
      log.close()
      port.removeAllListeners()
      post({ type: 'end' })
      return
    }
    const block = fill(empty, entries)
    lastEntry = entries[entries.length - 1].entry
    post(block, [block.cells.buffer, block.frames.buffer])
  } catch (error) {
    port.removeAllListeners()
    post({ type: 'failed', message: error instanceof Error ? error.message : String(error) })
  }
})

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
