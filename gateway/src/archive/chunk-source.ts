import { DOUBLE, type DuckDBDataChunk, type DuckDBType, INTEGER, VARCHAR } from '@duckdb/node-api'
import type { FileColumn, FileRows } from '../processor/flush.js'

/**
 * Rows as DuckDB pulls them: chunk by chunk, each column copied as a typed array into the vector, never row by row where they
 * have an array form.
 */
export interface ChunkSource {
  readonly columns: readonly { readonly name: string; readonly type: DuckDBType }[]
  /** Starts again from the first row. */
  rewind(): void
  /** Sets the chunk's row count, at most `CHUNK_ROWS`, and fills its vectors. A row count of 0 is the end. */
  fill(chunk: DuckDBDataChunk): void
}

/** DuckDB's vector size. */
export const CHUNK_ROWS = 2048

/** Columns that say which of the files (from 0) a row belongs to, and which of all rows it is: the last tiebreak of a sort. */
export const FILE_COLUMN = '__file'
export const ROW_COLUMN = '__row'

/** What the k-th column of a `FileSource` is called. No name of a metric begins with `_`. */
export function sourceColumn(k: number): string {
  return `__${k}`
}

/** The rows of one or more files with the same columns, none of them bytes (see wide-source.ts), one file behind the other. */
export class FileSource implements ChunkSource {
  readonly columns: readonly { readonly name: string; readonly type: DuckDBType }[]
  private file = 0
  private row = 0
  private rowsBefore = 0

  constructor(private readonly files: readonly FileRows[]) {
    const typed = files[0].columns.map((column, k) => ({ name: sourceColumn(k), type: typeInChunk(column) }))
    this.columns = [...typed, { name: FILE_COLUMN, type: INTEGER }, { name: ROW_COLUMN, type: DOUBLE }]
  }

  rewind(): void {
    this.file = 0
    this.row = 0
    this.rowsBefore = 0
  }

  fill(chunk: DuckDBDataChunk): void {
    const pieces: Piece[] = []
    let filled = 0
    while (filled < CHUNK_ROWS && this.file < this.files.length) {
      const file = this.files[this.file]
      const rows = Math.min(CHUNK_ROWS - filled, file.rows - this.row)
      pieces.push({ file: this.file, from: this.row, rows, at: filled })
      filled += rows
      this.row += rows
      if (this.row === file.rows) {
        this.file++
        this.row = 0
      }
    }
    chunk.rowCount = filled
    if (filled === 0) return
    for (let k = 0; k < this.columns.length - 2; k++) this.fillColumn(chunk, k, pieces)
    this.fillPlaces(chunk, pieces, filled)
    this.rowsBefore += filled
  }

  private fillColumn(chunk: DuckDBDataChunk, k: number, pieces: readonly Piece[]): void {
    const vector = chunk.getColumnVector(k)
    for (const { file, from, rows, at } of pieces) {
      const column = this.files[file].columns[k]
      if (column.type === 'bytes') throw new Error('a FileSource holds no bytes')
      numbersOf(vector).set(column.values.subarray(from, from + rows), at)
    }
    vector.flush()
  }

  private fillPlaces(chunk: DuckDBDataChunk, pieces: readonly Piece[], filled: number): void {
    const fileVector = chunk.getColumnVector(this.columns.length - 2)
    const files = numbersOf(fileVector)
    for (const { file, rows, at } of pieces) files.fill(file, at, at + rows)
    fileVector.flush()
    const rowVector = chunk.getColumnVector(this.columns.length - 1)
    const numbers = numbersOf(rowVector)
    for (let i = 0; i < filled; i++) numbers[i] = this.rowsBefore + i
    rowVector.flush()
  }
}

interface Piece {
  readonly file: number
  readonly from: number
  readonly rows: number
  /** The piece's first row in the chunk. */
  readonly at: number
}

/** A flush's dictionary, with each string's index. */
export class StringSource implements ChunkSource {
  readonly columns = [
    { name: 'id', type: INTEGER },
    { name: 'text', type: VARCHAR }
  ]
  private next = 0

  constructor(private readonly strings: readonly string[]) {}

  rewind(): void {
    this.next = 0
  }

  fill(chunk: DuckDBDataChunk): void {
    const rows = Math.min(CHUNK_ROWS, this.strings.length - this.next)
    chunk.rowCount = rows
    if (rows === 0) return
    const ids = chunk.getColumnVector(0)
    const texts = chunk.getColumnVector(1)
    const numbers = numbersOf(ids)
    for (let i = 0; i < rows; i++) {
      numbers[i] = this.next + i
      texts.setItem(i, this.strings[this.next + i])
    }
    ids.flush()
    texts.flush()
    this.next += rows
  }
}

type Vector = ReturnType<DuckDBDataChunk['getColumnVector']>

/** The array behind a vector of doubles or integers. */
export function numbersOf(vector: Vector): Float64Array | Int32Array {
  const items: unknown = 'items' in vector ? vector.items : null
  if (items instanceof Float64Array || items instanceof Int32Array) return items
  throw new Error(`a vector of ${vector.type} has no array of numbers`)
}

function typeInChunk(column: FileColumn): DuckDBType {
  return column.type === 'string' ? INTEGER : DOUBLE
}
