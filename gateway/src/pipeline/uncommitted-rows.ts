/**
 * The rows of flushes that the archive has not committed yet: they have left the processor and are in no file, and are served from
 * here meanwhile. Their columns lie in shared memory, so that archive and processor hold them once; it goes back to the
 * processor when the flush is committed.
 */
import type { FileColumn, FileRows, Flush } from '../processor/flush.js'
import type { RowMemory } from '../processor/row-memory.js'
import { type RowTable, tableOfFile } from '../processor/row-table.js'

interface Uncommitted {
  readonly lastEntry: number
  readonly tables: readonly RowTable[]
  readonly files: readonly FileRows[]
}

export class UncommittedRows {
  private flushes: Uncommitted[] = []

  constructor(private readonly memory: RowMemory) {}

  /** Keeps the rows of readings and features. Returns the flush to be written, whose columns it shares. */
  add(flush: Flush): Flush {
    const files = flush.files.map(file =>
      isServed(file) ? { ...file, columns: file.columns.map(column => this.shared(column, file.rows)) } : file
    )
    const tables = files.filter(isServed).map(file => tableOfFile(file, flush.strings))
    this.flushes.push({ lastEntry: flush.lastEntry, tables, files })
    return { ...flush, files }
  }

  /** The archive has committed the flushes up to this entry, and reads them no more. */
  forget(throughEntry: number): void {
    for (const { lastEntry, files } of this.flushes) if (lastEntry <= throughEntry) this.giveBack(files)
    this.flushes = this.flushes.filter(({ lastEntry }) => lastEntry > throughEntry)
  }

  /** The rows of flushes behind the entry. */
  behind(committedEntry: number): RowTable[] {
    return this.flushes.filter(({ lastEntry }) => lastEntry > committedEntry).flatMap(({ tables }) => tables)
  }

  private giveBack(files: readonly FileRows[]): void {
    for (const { columns } of files) {
      for (const { values } of columns) {
        if (ArrayBuffer.isView(values) && values.buffer instanceof SharedArrayBuffer) this.memory.give(values.buffer)
      }
    }
    this.memory.endRound()
  }

  private shared(column: FileColumn, rows: number): FileColumn {
    if (column.type === 'bytes' || column.values.buffer instanceof SharedArrayBuffer) return column
    const memory = this.memory.take(column.values.byteLength)
    if (column.type === 'string') {
      const values = new Int32Array(memory, 0, rows)
      values.set(column.values)
      return { ...column, values }
    }
    const values = new Float64Array(memory, 0, rows)
    values.set(column.values)
    return { ...column, values }
  }
}

function isServed({ layer }: FileRows): boolean {
  return layer === 'processed' || layer === 'curated'
}
