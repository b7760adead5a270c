/**
 * Rows on their way to one file, column by column: growing typed arrays, strings by dictionary. A cell is written with `put…`,
 * a row ended with `endRow`; a cell that was not written is null.
 *
 * Twenty columns are twenty places in memory, too far apart to be written at once. So what comes row by row, and often, is staged:
 * row behind row, and moved into the columns some rows at a time.
 */
import type { Device } from './device.js'
import { DevicePlaces } from './device-places.js'
import type { FileColumn, Layer, NumberColumn } from './flush.js'
import type { RowMemory } from './row-memory.js'

export type ColumnType = NumberColumn['type'] | 'string' | 'bytes'

export interface ColumnSpec {
  readonly name: string
  readonly type: ColumnType
}

/** What every row of a layer has in common. */
export interface RowLayout {
  /** Rows of one ID and hour go to one file. */
  readonly id: string
  readonly layer: Layer
  readonly profile: string | null
  readonly profileVersion: number | null
  readonly columns: readonly ColumnSpec[]
  readonly sortBy: readonly string[]
}

/** A ledger of an hour on its way. */
export interface HourTally {
  readonly profile: string
  readonly hourMs: number
  archived: number
  late: number
}

export interface RowsSnapshot {
  readonly layout: RowLayout
  readonly hourMs: number
  readonly sinceMs: number
  readonly count: number
  readonly strings: string[]
  /** One a column: doubles, Int32 indices, or the bytes themselves. */
  readonly columns: (Float64Array | Int32Array | (Uint8Array | null)[])[]
}

const CAPACITY_MIN = 64

/** The column of devices, in layers whose rows are all of devices that are known. */
const DEVICE = 0
const LAYERS_OF_DEVICES: readonly Layer[] = ['processed', 'curated']

/** So many rows, and an hour is expected to hold as many as the one before it. */
export const MANY_ROWS = 8192

/** Pages of shared memory that are not used cost nothing, memory that is outgrown does: so it grows by so much, up to what a flush holds at most. */
const MANY_GROW_BY = 16
const MANY_AT_ONCE_MAX = 2 ** 21

/** Rows whose cells become null at a time, where cells are written one by one. */
const CLEARED_AT_ONCE = 64

/** Rows staged at most: what they take fits the fastest cache. */
const STAGED_MAX = 64

export class Rows {
  readonly layout: RowLayout
  readonly hourMs: number
  /** Ingest time of the first row. */
  readonly sinceMs: number
  count = 0
  /** Of what `putBytes` wrote. */
  payloadBytes = 0
  /** Where readings of this profile and hour are counted; null until the first one since the last boundary. */
  tally: HourTally | null = null
  readonly strings: string[] = []
  /** Cells of the staged rows, which are the last of `count`; strings as places in the dictionary. */
  staged = new Float64Array(0)
  private stagedRows = 0
  /** Goes out at the next boundary, however few rows make a small hour by then. */
  isLarge = false
  /** Its rows are counted and no longer kept: whoever takes them throws them away. */
  isDiscarded = false
  private capacity = 0
  /** Rows below it hold what was written to them, or nulls. */
  private cleared = 0
  private readonly stringIndex = new Map<string, number>()
  private readonly devices = new DevicePlaces()
  private readonly numbers: Float64Array[]
  private readonly indices: Int32Array[]
  /** By column: the text that was looked up last, and its place. */
  private readonly lastTexts: string[]
  private readonly lastIndices: number[]
  private readonly bytes: (Uint8Array | null)[][]

  /** `rowsExpected`: once there are many, room is made for so many at a time. */
  constructor(
    layout: RowLayout,
    hourMs: number,
    sinceMs: number,
    private readonly rowsExpected: number,
    private readonly memory: RowMemory
  ) {
    this.layout = layout
    this.hourMs = hourMs
    this.sinceMs = sinceMs
    this.numbers = layout.columns.map(() => new Float64Array(0))
    this.indices = layout.columns.map(() => new Int32Array(0))
    this.bytes = layout.columns.map(() => [])
    this.lastTexts = layout.columns.map(() => '')
    this.lastIndices = layout.columns.map(() => -1)
  }

  /** `placeOf`: the place of the device of this ID. */
  static restore(snapshot: RowsSnapshot, placeOf: (deviceId: string) => number, memory: RowMemory): Rows {
    const { layout, hourMs, sinceMs, count, strings, columns } = snapshot
    const rows = new Rows(layout, hourMs, sinceMs, 0, memory)
    rows.count = rows.capacity = rows.cleared = count
    const isOfDevices = LAYERS_OF_DEVICES.includes(layout.layer)
    for (const text of strings) rows.strings.push(text)
    for (const [c, column] of columns.entries()) {
      if (column instanceof Float64Array) rows.numbers[c] = column
      else if (column instanceof Int32Array) {
        rows.indices[c] = column
        for (const place of column) {
          if (place < 0) continue
          if (c === DEVICE && isOfDevices) rows.devices.set(placeOf(strings[place]), place)
          else rows.stringIndex.set(strings[place], place)
        }
      } else for (const [row, bytes] of column.entries()) if (bytes !== null) rows.keepBytes(c, row, bytes)
    }
    return rows
  }

  /** Keeps no row, not those that are there either. It must be taken, and thrown away, at the next boundary. */
  discard(): void {
    this.isDiscarded = true
    this.stagedRows = 0
    this.capacity = 0
    this.cleared = 0
    for (const c of this.layout.columns.keys()) {
      this.giveBack(this.numbers[c])
      this.giveBack(this.indices[c])
      this.numbers[c] = new Float64Array(0)
      this.indices[c] = new Int32Array(0)
      this.bytes[c] = []
    }
  }

  toSnapshot(): RowsSnapshot {
    this.settle()
    const { layout, hourMs, sinceMs, count, strings } = this
    const columns = layout.columns.map(({ type }, c) => {
      if (type === 'bytes') return this.bytesOf(c)
      return type === 'string' ? this.indices[c].subarray(0, count) : this.numbers[c].subarray(0, count)
    })
    return { layout, hourMs, sinceMs, count, strings, columns }
  }

  /**
   * Where in `staged` the cells of the next row begin, in the order of the columns: all are to be written, -1 for a string that is
   * null; then `endStaged`. Not for columns of bytes.
   */
  stage(): number {
    const width = this.layout.columns.length
    if (this.stagedRows === STAGED_MAX) this.settle()
    if (this.staged.length === 0) this.staged = new Float64Array(STAGED_MAX * width)
    return this.stagedRows * width
  }

  endStaged(): void {
    this.stagedRows++
    this.count++
  }

  /** Moves what is staged into the columns. Before anything but `stage` is called. */
  settle(): void {
    const { staged, stagedRows: rows, layout } = this
    if (rows === 0) return
    while (this.count > this.capacity) this.grow()
    const width = layout.columns.length
    const first = this.count - rows
    for (let c = 0; c < width; c++) {
      const into = layout.columns[c].type === 'string' ? this.indices[c] : this.numbers[c]
      for (let row = 0, at = c; row < rows; row++, at += width) into[first + row] = staged[at]
    }
    this.stagedRows = 0
  }

  putNumber(column: number, value: number): void {
    if (this.isDiscarded) return
    this.beginCell()
    this.numbers[column][this.count] = value
  }

  putString(column: number, text: string): void {
    if (this.isDiscarded) return
    this.beginCell()
    this.indices[column][this.count] = this.indexOf(text)
  }

  putDevice(device: Device): void {
    if (this.isDiscarded) return
    this.beginCell()
    this.indices[DEVICE][this.count] = this.indexOfDevice(device)
  }

  /** The place of the text in the dictionary. */
  indexOf(text: string): number {
    let index = this.stringIndex.get(text)
    if (index === undefined) {
      index = this.strings.push(text) - 1
      this.stringIndex.set(text, index)
    }
    return index
  }

  /** The place of a device's ID in the dictionary, in the column of devices: apart from all other texts. */
  indexOfDevice({ place, deviceId }: Device): number {
    let index = this.devices.get(place)
    if (index < 0) {
      index = this.strings.push(deviceId) - 1
      this.devices.set(place, index)
    }
    return index
  }

  /** The same as `indexOf` for a column whose texts mostly repeat. */
  indexIn(column: number, text: string): number {
    if (text !== this.lastTexts[column] || this.lastIndices[column] < 0) {
      this.lastTexts[column] = text
      this.lastIndices[column] = this.indexOf(text)
    }
    return this.lastIndices[column]
  }

  /** Makes room for `count` more rows, all of whose cells are then written by column, from `this.count` on; `endRows` ends them. */
  reserve(count: number): void {
    while (this.count + count > this.capacity) this.grow()
  }

  /** The cells of a number column; of no use once a row is added or reserved. */
  numbersOf(column: number): Float64Array {
    return this.numbers[column]
  }

  /** The cells of a string column, as places in the dictionary. */
  indicesOf(column: number): Int32Array {
    return this.indices[column]
  }

  endRows(count: number): void {
    this.count += count
  }

  putBytes(column: number, bytes: Uint8Array): void {
    if (!this.isDiscarded) this.beginCell()
    this.keepBytes(column, this.count, bytes)
  }

  endRow(): void {
    if (!this.isDiscarded) this.beginCell()
    this.count++
  }

  /** The value of a number column, NaN for null. */
  numberAt(column: number, row: number): number {
    return this.numbers[column][row]
  }

  stringAt(column: number, row: number): string | null {
    const index = this.indices[column][row]
    return index < 0 ? null : this.strings[index]
  }

  /**
   * The columns as they cross to the archive; dictionary indices begin at `firstString`. The arrays are the caller's then, and no row can be
   * added; shared memory among them is to be given back when nobody needs it.
   */
  toColumns(firstString: number): FileColumn[] {
    this.settle()
    return this.layout.columns.map(({ name, type }, c): FileColumn => {
      if (type === 'string') return { name, type, values: shifted(this.indices[c].subarray(0, this.count), firstString) }
      if (type === 'bytes') return { name, type, values: this.bytesOf(c) }
      return { name, type, values: this.numbers[c].subarray(0, this.count) }
    })
  }

  private bytesOf(column: number): (Uint8Array | null)[] {
    return Array.from({ length: this.count }, (_, row) => this.bytes[column][row] ?? null)
  }

  private keepBytes(column: number, row: number, bytes: Uint8Array): void {
    if (!this.isDiscarded) this.bytes[column][row] = bytes
    this.payloadBytes += bytes.length
  }

  /** Makes room for the next row, and nulls of its cells. */
  private beginCell(): void {
    if (this.count < this.cleared) return
    if (this.count === this.capacity) this.grow()
    this.cleared = Math.min(this.capacity, this.count + CLEARED_AT_ONCE)
    for (const numbers of this.numbers) numbers.fill(Number.NaN, this.count, this.cleared)
    for (const indices of this.indices) indices.fill(-1, this.count, this.cleared)
  }

  private grow(): void {
    const isMany = this.capacity >= MANY_ROWS
    if (isMany && this.rowsExpected > this.capacity) this.capacity = this.rowsExpected
    else this.capacity = Math.max(CAPACITY_MIN, this.capacity * 2, isMany ? Math.min(this.capacity * MANY_GROW_BY, MANY_AT_ONCE_MAX) : 0)
    for (const [c, { type }] of this.layout.columns.entries()) {
      if (type === 'string') this.indices[c] = this.grown(this.indices[c], new Int32Array(this.room(4), 0, this.capacity))
      else if (type !== 'bytes') this.numbers[c] = this.grown(this.numbers[c], new Float64Array(this.room(8), 0, this.capacity))
    }
  }

  /** Many rows lie in shared memory: they are served while the archive has them, and need not be copied for that. */
  private room(bytesPerCell: number): ArrayBufferLike {
    const bytes = bytesPerCell * this.capacity
    return this.capacity < MANY_ROWS ? new ArrayBuffer(bytes) : this.memory.take(bytes)
  }

  private grown<Cells extends Float64Array | Int32Array>(from: Cells, into: Cells): Cells {
    into.set(from)
    this.giveBack(from)
    return into
  }

  private giveBack({ buffer }: Float64Array | Int32Array): void {
    if (buffer instanceof SharedArrayBuffer) this.memory.give(buffer)
  }
}

function shifted(indices: Int32Array, by: number): Int32Array {
  if (by > 0) for (let row = 0; row < indices.length; row++) if (indices[row] >= 0) indices[row] += by
  return indices
}
