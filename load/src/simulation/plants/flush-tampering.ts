/** Planted bugs that show in what the processor hands over: columns that say what they should not. */
import type { FileRows, Flush } from '@tidemark/gateway/dist/processor/flush.js'
import { columnOf, numbersOf } from '../rows.js'

/** Calls a reading late by another rule than the device's own watermark. */
export function lateAgainst(flush: Flush, watermarkMs: (row: { ingestMs: number; eventTimeMs: number }) => number): Flush {
  for (const file of filesOf(flush, 'processed')) {
    const [late, ingest, event] = ['late', 'ingest_time', 'event_time'].map(name => numbersOf(file, name))
    for (let row = 0; row < file.rows; row++) {
      late[row] = event[row] < watermarkMs({ ingestMs: ingest[row], eventTimeMs: event[row] }) ? 1 : 0
    }
  }
  return flush
}

/** Writes a column of feature rows anew. */
export function overwrite(flush: Flush, name: string, cellOf: (row: number, column: (name: string) => Float64Array) => number): Flush {
  for (const file of filesOf(flush, 'curated')) {
    const values = numbersOf(file, name)
    for (let row = 0; row < file.rows; row++) values[row] = cellOf(row, other => numbersOf(file, other))
  }
  return flush
}

export function dropBytes(flush: Flush): Flush {
  const without = (file: FileRows): FileRows => ({
    ...file,
    columns: file.columns.map(column => (column.type === 'bytes' ? { ...column, values: column.values.map(() => null) } : column))
  })
  return { ...flush, files: flush.files.map(file => (file.layer === 'quarantine' ? without(file) : file)) }
}

/** Leaves out every feature row that goes out again. */
export function withoutCorrections(flush: Flush): Flush {
  const first = (file: FileRows): FileRows => {
    const revisions = numbersOf(file, 'revision')
    const kept = Array.from(revisions.keys()).filter(row => revisions[row] === 0)
    return { ...file, rows: kept.length, columns: file.columns.map(column => columnOf(column, kept)) }
  }
  return { ...flush, files: flush.files.map(file => (file.layer === 'curated' ? first(file) : file)) }
}

function filesOf(flush: Flush, layer: FileRows['layer']): FileRows[] {
  return flush.files.filter(file => file.layer === layer)
}
