import { BLOB, DOUBLE, DuckDBBlobValue, type DuckDBDataChunk, type DuckDBType, VARCHAR } from '@duckdb/node-api'
import type { BytesColumn, FileRows } from '../processor/flush.js'
import { CHUNK_ROWS, type ChunkSource, numbersOf, sourceColumn } from './chunk-source.js'

/** Payload handed to DuckDB at once, in bytes; more by at most one row. */
export const CHUNK_BYTES = 4 * 1024 * 1024

/**
 * The rows of one file in a given order, strings as text. For files with a column of bytes: DuckDB's sort and joins would
 * hold all their payloads several times over, so they get there sorted and leave at once.
 */
export class WideSource implements ChunkSource {
  readonly columns: readonly { readonly name: string; readonly type: DuckDBType }[]
  private readonly payloads: readonly BytesColumn[]
  private next = 0

  constructor(
    private readonly file: FileRows,
    private readonly strings: readonly string[],
    private readonly order: Float64Array
  ) {
    this.columns = file.columns.map(({ type }, k) => ({
      name: sourceColumn(k),
      type: type === 'bytes' ? BLOB : type === 'string' ? VARCHAR : DOUBLE
    }))
    this.payloads = file.columns.filter(column => column.type === 'bytes')
  }

  rewind(): void {
    this.next = 0
  }

  fill(chunk: DuckDBDataChunk): void {
    const rows = this.order.subarray(this.next, this.next + this.rowsThatFit())
    this.next += rows.length
    chunk.rowCount = rows.length
    if (rows.length === 0) return
    for (const [k, column] of this.file.columns.entries()) {
      const vector = chunk.getColumnVector(k)
      if (column.type === 'bytes') {
        rows.forEach((row, i) => {
          const bytes = column.values[row]
          vector.setItem(i, bytes === null ? null : new DuckDBBlobValue(bytes))
        })
      } else if (column.type === 'string') {
        rows.forEach((row, i) => {
          const index = column.values[row]
          vector.setItem(i, index < 0 ? null : this.strings[index])
        })
      } else {
        const numbers = numbersOf(vector)
        rows.forEach((row, i) => {
          numbers[i] = column.values[row]
        })
      }
      vector.flush()
    }
  }

  private rowsThatFit(): number {
    const most = Math.min(CHUNK_ROWS, this.order.length - this.next)
    let bytes = 0
    for (let i = 0; i < most; i++) {
      for (const { values } of this.payloads) bytes += values[this.order[this.next + i]]?.length ?? 0
      if (bytes >= CHUNK_BYTES) return i + 1
    }
    return most
  }
}
