import { BLOB, DOUBLE, type DuckDBDataChunk, type DuckDBType, VARCHAR } from '@duckdb/node-api'
import type { BytesColumn, FileColumn, NumberColumn, StringColumn } from '../processor/flush.js'
import { CHUNK_BYTES, CHUNK_ROWS, type ChunkSource, NumberCells, SliceCells } from './chunk-source.js'
import type { Dictionary } from './dictionary.js'

/** What the k-th column of a `RowSource` is called. No name of a metric begins with `_`. */
export function sourceColumn(k: number): string {
  return `__${k}`
}

/** The cells of one column on their way into a chunk: those of rows given by number. */
interface Cells {
  readonly type: DuckDBType
  fill(rows: Int32Array, chunk: DuckDBDataChunk, k: number): void
}

interface SizedCells extends Cells {
  /** Whether so many rows as a chunk may have can be too large for one. */
  readonly isWide: boolean
  /** Bytes that the row's cell adds to a chunk, at most. */
  bytesOf(row: number): number
}

/** Columns of a file, its rows in a given order: they get to DuckDB sorted and leave at once. */
export class RowSource implements ChunkSource {
  readonly columns: readonly { readonly name: string; readonly type: DuckDBType }[]
  private readonly cells: readonly Cells[]
  /** Those whose cells may be large. */
  private readonly wide: readonly SizedCells[]
  private next = 0

  constructor(
    columns: readonly FileColumn[],
    dictionary: Dictionary,
    private readonly order: Int32Array
  ) {
    this.cells = columns.map(column => {
      if (column.type === 'bytes') return new BytesCells(column)
      return column.type === 'string' ? new TextCells(column, dictionary) : new DoubleCells(column)
    })
    this.wide = this.cells.filter(cells => (cells instanceof BytesCells || cells instanceof TextCells) && cells.isWide) as SizedCells[]
    this.columns = this.cells.map(({ type }, k) => ({ name: sourceColumn(k), type }))
  }

  rewind(): void {
    this.next = 0
  }

  fill(chunk: DuckDBDataChunk): void {
    const rows = this.order.subarray(this.next, this.next + this.rowsThatFit())
    this.next += rows.length
    chunk.rowCount = rows.length
    if (rows.length > 0) for (const [k, cells] of this.cells.entries()) cells.fill(rows, chunk, k)
  }

  private rowsThatFit(): number {
    const most = Math.min(CHUNK_ROWS, this.order.length - this.next)
    if (this.wide.length === 0) return most
    let bytes = 0
    for (let i = 0; i < most; i++) {
      for (const cells of this.wide) bytes += cells.bytesOf(this.order[this.next + i])
      if (bytes >= CHUNK_BYTES) return i + 1
    }
    return most
  }
}

class DoubleCells extends NumberCells implements Cells {
  readonly type = DOUBLE

  constructor(private readonly column: NumberColumn) {
    super()
  }

  fill(rows: Int32Array, chunk: DuckDBDataChunk, k: number): void {
    const { values } = this
    const from = this.column.values
    for (let i = 0; i < rows.length; i++) values[i] = from[rows[i]]
    this.flush(chunk, k, rows.length)
  }
}

class BytesCells extends SliceCells implements SizedCells {
  readonly type = BLOB
  readonly isWide = true

  constructor(private readonly column: BytesColumn) {
    super()
  }

  bytesOf(row: number): number {
    return this.column.values[row]?.length ?? 0
  }

  fill(rows: Int32Array, chunk: DuckDBDataChunk, k: number): void {
    for (let i = 0; i < rows.length; i++) {
      const bytes = this.column.values[rows[i]]
      if (bytes === null) this.put(i, 0, -1)
      else this.put(i, this.keep(bytes, 0, bytes.length), bytes.length)
    }
    this.flush(chunk, k, rows.length)
  }
}

/** A text is once in a chunk, however many of its rows have it. */
class TextCells extends SliceCells implements SizedCells {
  readonly type = VARCHAR
  readonly isWide: boolean

  constructor(
    private readonly column: StringColumn,
    private readonly dictionary: Dictionary
  ) {
    super()
    this.isWide = dictionary.longestBytes > CHUNK_BYTES / CHUNK_ROWS
  }

  bytesOf(row: number): number {
    const { starts } = this.dictionary
    const place = this.column.values[row]
    return place < 0 ? 0 : starts[place + 1] - starts[place]
  }

  fill(rows: Int32Array, chunk: DuckDBDataChunk, k: number): void {
    const { dictionary } = this
    const { bytes, starts } = dictionary
    const { values } = this.column
    dictionary.beginRound()
    for (let i = 0; i < rows.length; i++) {
      const place = values[rows[i]]
      if (place < 0) {
        this.put(i, 0, -1)
        continue
      }
      let at = dictionary.noteOf(place)
      if (at < 0) {
        at = this.keep(bytes, starts[place], starts[place + 1])
        dictionary.note(place, at)
      }
      this.put(i, at, starts[place + 1] - starts[place])
    }
    this.flush(chunk, k, rows.length)
  }
}
