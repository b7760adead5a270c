/**
 * The rows of flushes that the archive has not committed yet: they have left the processor and are in no file, and are served from
 * here meanwhile. Their columns are moved into shared memory, so that archive and processor hold them once.
 */
import type { FileColumn, FileRows, Flush } from '../processor/flush.js'
import { type RowTable, tableOfFile } from '../processor/row-table.js'

interface Uncommitted {
  readonly lastEntry: number
  readonly tables: readonly RowTable[]
}

export class UncommittedRows {
  private flushes: Uncommitted[] = []

  /** Keeps the rows of readings and features. Returns the flush to be written, whose columns it shares. */
  add(flush: Flush): Flush {
    const files = flush.files.map(file => (isServed(file) ? { ...file, columns: file.columns.map(shared) } : file))
    this.flushes.push({ lastEntry: flush.lastEntry, tables: files.filter(isServed).map(file => tableOfFile(file, flush.strings)) })
    return { ...flush, files }
  }

  /** The archive has committed the flushes up to this entry. */
  forget(throughEntry: number): void {
    this.flushes = this.flushes.filter(({ lastEntry }) => lastEntry > throughEntry)
  }

  /** The rows of flushes behind the entry. */
  behind(committedEntry: number): RowTable[] {
    return this.flushes.filter(({ lastEntry }) => lastEntry > committedEntry).flatMap(({ tables }) => tables)
  }
}

function isServed({ layer }: FileRows): boolean {
  return layer === 'processed' || layer === 'curated'
}

function shared(column: FileColumn): FileColumn {
  if (column.type === 'bytes' || column.values.buffer instanceof SharedArrayBuffer) return column
  if (column.type === 'string') {
    const values = new Int32Array(new SharedArrayBuffer(column.values.byteLength))
    values.set(column.values)
    return { ...column, values }
  }
  const values = new Float64Array(new SharedArrayBuffer(column.values.byteLength))
  values.set(column.values)
  return { ...column, values }
}
