import type { DuckDBDataChunk, DuckDBType } from '@duckdb/node-api'
import duckdb from '@duckdb/node-bindings'

/**
 * Rows as DuckDB pulls them, chunk by chunk. A column's cells lie in an array that is copied into the chunk's vector at once: no object
 * and no call for a cell.
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

/** Texts and payloads handed to DuckDB at once, in bytes; more by at most one row. */
export const CHUNK_BYTES = 4 * 1024 * 1024

/** The cells of a column of doubles. */
export class NumberCells {
  readonly values = new Float64Array(CHUNK_ROWS)

  /** Fills the k-th vector of the chunk, whose row count is set, with the first `rows`. */
  flush(chunk: DuckDBDataChunk, k: number, rows: number): void {
    const { values } = this
    duckdb.copy_data_to_vector(vectorOf(chunk, k), 0, values.buffer, 0, rows * values.BYTES_PER_ELEMENT)
  }
}

/** A cell as a vector of texts or bytes holds it (`duckdb_string_t` of duckdb.h): its length, then its bytes if they fit, else four of them and where they lie. */
const CELL_BYTES = 16
const INLINED_BYTES_MAX = 12

/** The cells of a column of texts (UTF-8) or bytes: slices of one heap, which DuckDB gets in one piece. */
export class SliceCells {
  /** Bytes in the heap. */
  heapBytes = 0
  private heap = Buffer.alloc(4096)
  /** Where in the heap each cell begins, and its bytes; -1: null. */
  private readonly starts = new Int32Array(CHUNK_ROWS)
  private readonly lengths = new Int32Array(CHUNK_ROWS)
  private readonly words = new Uint32Array((CHUNK_ROWS * CELL_BYTES) / 4)
  private readonly bytes = new Uint8Array(this.words.buffer)
  private readonly validity = new Uint8Array(CHUNK_ROWS / 8)

  /** Puts bytes into the heap and returns where. */
  keep(from: Uint8Array, start: number, end: number): number {
    const at = this.heapBytes
    this.heapBytes += end - start
    if (this.heapBytes > this.heap.length) this.grow(at)
    const { heap } = this
    if (end - start > 64) heap.set(from.subarray(start, end), at)
    else for (let i = start, to = at; i < end; i++, to++) heap[to] = from[i]
    return at
  }

  /** The row's cell is `length` bytes of the heap from `start` on; -1: null. */
  put(row: number, start: number, length: number): void {
    this.starts[row] = start
    this.lengths[row] = length
  }

  /** Fills the k-th vector of the chunk, whose row count is set, with the first `rows`; the heap is empty then. */
  flush(chunk: DuckDBDataChunk, k: number, rows: number): void {
    const { words, bytes, heap, starts, lengths } = this
    const vector = vectorOf(chunk, k)
    const { low, high } = this.place(vector)
    let nulls = 0
    for (let row = 0, word = 0; row < rows; row++, word += 4) {
      const length = lengths[row]
      const start = starts[row]
      words[word] = Math.max(length, 0)
      if (length > INLINED_BYTES_MAX) {
        const address = low + start
        words[word + 1] = heap[start] | (heap[start + 1] << 8) | (heap[start + 2] << 16) | (heap[start + 3] << 24)
        words[word + 2] = address
        words[word + 3] = high + (address > 0xffff_ffff ? 1 : 0)
        continue
      }
      words[word + 1] = words[word + 2] = words[word + 3] = 0
      if (length < 0) nulls++
      for (let i = 0, at = word * 4 + 4; i < length; i++) bytes[at + i] = heap[start + i]
    }
    duckdb.copy_data_to_vector(vector, 0, words.buffer, 0, rows * CELL_BYTES)
    if (nulls > 0) this.flushNulls(vector, rows)
    this.heapBytes = 0
  }

  /** Gives the vector the heap, as if it were its first cell; the address of its own copy, which lives as long as the vector does. */
  private place(vector: duckdb.Vector): { low: number; high: number } {
    if (this.heapBytes <= INLINED_BYTES_MAX) return { low: 0, high: 0 }
    duckdb.vector_assign_string_element_len(vector, 0, this.heap.subarray(0, this.heapBytes))
    const { buffer, byteOffset } = duckdb.vector_get_data(vector, CELL_BYTES)
    const [, , low, high] = new Uint32Array(buffer, byteOffset, CELL_BYTES / 4)
    return { low, high }
  }

  private flushNulls(vector: duckdb.Vector, rows: number): void {
    const { validity, lengths } = this
    validity.fill(0xff)
    for (let row = 0; row < rows; row++) if (lengths[row] < 0) validity[row >> 3] &= ~(1 << (row & 7))
    duckdb.vector_ensure_validity_writable(vector)
    duckdb.copy_data_to_vector_validity(vector, 0, validity.buffer, 0, Math.ceil(rows / 64) * 8)
  }

  private grow(used: number): void {
    const grown = Buffer.allocUnsafe(2 ** Math.ceil(Math.log2(this.heapBytes)))
    grown.set(this.heap.subarray(0, used))
    this.heap = grown
  }
}

function vectorOf(chunk: DuckDBDataChunk, k: number): duckdb.Vector {
  return duckdb.data_chunk_get_vector(chunk.chunk, k)
}
