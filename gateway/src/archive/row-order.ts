/**
 * The order of a file's rows, by its `sortBy`: texts as by their UTF-8 bytes, numbers ascending, nulls last, ties as they come. It is
 * made here and not by DuckDB, which would hold all columns of the rows to sort them.
 */
import type { FileColumn, FileRows } from '../processor/flush.js'
import type { Dictionary } from './dictionary.js'

type Compare = (a: number, b: number) => number

/** The numbers of the rows in their order. */
export function orderOf({ rows, columns, sortBy }: FileRows, dictionary: Dictionary): Int32Array {
  const keys = sortBy.map(name =>
    keyOf(
      columns.find(column => column.name === name),
      dictionary
    )
  )
  const [first, ...rest] = keys
  if (!(first instanceof Int32Array)) {
    const order = Int32Array.from({ length: rows }, (_, row) => row)
    sortRange(order, 0, rows, compareBy(keys))
    return order
  }
  const { order, starts } = sortedByRank(first)
  const compare = compareBy(rest)
  for (let k = 1; k < starts.length; k++) sortRange(order, starts[k - 1], starts[k], compare)
  return order
}

/** By row: a number, or the rank of a text. */
function keyOf(column: FileColumn | undefined, dictionary: Dictionary): Float64Array | Int32Array {
  if (column === undefined || column.type === 'bytes') throw new Error('a file is sorted by a column of its own, and not by bytes')
  if (column.type !== 'string') return column.values
  return rankOfEach(column.values, dictionary)
}

/** By row: the dense rank of its text, from 0; null comes behind them all. */
function rankOfEach(places: Int32Array, dictionary: Dictionary): Int32Array {
  const texts: string[] = []
  dictionary.beginRound()
  for (let row = 0; row < places.length; row++) {
    const place = places[row]
    if (place < 0 || dictionary.noteOf(place) >= 0) continue
    dictionary.note(place, 0)
    texts.push(dictionary.texts[place])
  }
  sortAsBytes(texts)
  const ranks = new Map<string, number>()
  for (const text of texts) if (!ranks.has(text)) ranks.set(text, ranks.size)
  dictionary.beginRound()
  const byRow = new Int32Array(places.length)
  for (let row = 0; row < places.length; row++) {
    const place = places[row]
    if (place >= 0 && dictionary.noteOf(place) < 0) dictionary.note(place, ranks.get(dictionary.texts[place])!)
    byRow[row] = place < 0 ? ranks.size : dictionary.noteOf(place)
  }
  return byRow
}

const BEYOND_BMP = /[\ud800-\udfff]/

/** UTF-16 sorts as UTF-8 does but for surrogates. */
function sortAsBytes(texts: string[]): void {
  if (texts.some(text => BEYOND_BMP.test(text))) texts.sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
  else texts.sort()
}

/** The rows by rank, ties as they come; and where in this order each rank begins, and the end. Ranks are dense, or nearly so. */
export function sortedByRank(ranks: Int32Array): { order: Int32Array; starts: Int32Array } {
  let ranksInUse = 0
  for (let row = 0; row < ranks.length; row++) ranksInUse = Math.max(ranksInUse, ranks[row] + 1)
  const starts = new Int32Array(ranksInUse + 1)
  for (let row = 0; row < ranks.length; row++) starts[ranks[row] + 1]++
  for (let rank = 0; rank < ranksInUse; rank++) starts[rank + 1] += starts[rank]
  const next = starts.slice()
  const order = new Int32Array(ranks.length)
  for (let row = 0; row < ranks.length; row++) order[next[ranks[row]]++] = row
  return { order, starts }
}

/** Mostly there is nothing to do: a device's readings come in their order. */
function sortRange(order: Int32Array, start: number, end: number, compare: Compare): void {
  for (let i = start + 1; i < end; i++) {
    if (compare(order[i - 1], order[i]) <= 0) continue
    order.subarray(start, end).sort((a, b) => compare(a, b) || a - b)
    return
  }
}

function compareBy(keys: readonly (Float64Array | Int32Array)[]): Compare {
  return (a, b) => {
    for (const key of keys) {
      const [x, y] = [key[a], key[b]]
      if (x < y) return -1
      if (x > y) return 1
      if (x !== y && Number.isNaN(x) !== Number.isNaN(y)) return Number.isNaN(x) ? 1 : -1
    }
    return 0
  }
}
