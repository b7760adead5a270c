/**
 * Reads what can be read of a buffer's file that is damaged: row by row, around pages that are broken. Writes nothing of its own; SQLite
 * may take the write-ahead log in.
 */
import { z } from 'zod'
import {
  type BufferState,
  CHUNK_COLUMNS,
  type ChunkRow,
  chunkCrc,
  SELECT_CLOCKS,
  SELECT_EPOCHS,
  SELECT_STATE,
  TOMBSTONE_COLUMNS,
  type TombstoneRow
} from './buffer-schema.js'
import type { ClockRange } from './clock-ranges.js'
import type { EpochRange } from './core/epochs.js'
import type { ProgressMark } from './core/recovery.js'
import { type ProfileRow, profileOf } from './profile-store.js'
import { type Database, Sqlite, type Statement } from './sqlite.js'

const KEY_MAX = Number.MAX_SAFE_INTEGER

/** What could be read of a damaged buffer. */
export interface Remains {
  readonly state: BufferState | null
  readonly epochs: readonly EpochRange[]
  /** null where some cannot be read. */
  readonly clocks: readonly ClockRange[] | null
  readonly profiles: readonly ProfileRow[]
  /** null where some cannot be read. */
  readonly tombstones: readonly TombstoneRow[] | null
}

/** What looking through the whole file has shown. */
export interface Examined {
  /** What SQLite and the chunks' checksums say is wrong, in a few lines; empty where nothing is. */
  readonly problems: readonly string[]
  /** In chunks that are what was written. */
  readonly readableReadings: number
}

export class DamagedFile {
  private readonly database: Database | null

  constructor(path: string) {
    this.database = tryTo(() => {
      const database = new Sqlite(path, { fileMustExist: true })
      database.unsafeMode(true)
      database.pragma('writable_schema = ON') // a file that was cut off is refused otherwise
      return database
    })
  }

  close(): void {
    this.database?.close()
  }

  read(): Remains {
    return {
      state: this.state(),
      epochs: this.epochs(),
      clocks: this.clocks(),
      profiles: this.profiles(),
      tombstones: this.tombstones()
    }
  }

  /** The chunks that are what was written, by rising positions, read one by one: a buffer may be larger than the memory. */
  *chunks(): Generator<ChunkRow> {
    for (const row of this.rows<ChunkRow>(CHUNK_BEHIND, ({ firstPosition }) => firstPosition)) if (isSoundChunk(row)) yield row
  }

  examine(mark: ProgressMark | null): Examined {
    const { database } = this
    if (database === null) return { problems: ['the file is no database any more'], readableReadings: 0 }
    const found = tryTo(() => database.pragma('integrity_check(5)')) as { integrity_check: string }[] | null
    const problems = found?.map(row => row.integrity_check).filter(text => text !== 'ok') ?? ['the file cannot be read']
    if (this.state() === null) problems.push('its state cannot be read')
    const epochs = this.epochs()
    if (epochs.length === 0) problems.push('its epochs cannot be read')
    else if (mark !== null && !epochs.some(({ epoch, base }) => epoch === mark.epoch && base === mark.base))
      problems.push('it does not know the epoch that its mark names')
    if (this.tombstones() === null) problems.push('its tombstones cannot be read')
    if (this.clocks() === null) problems.push('its clock ranges cannot be read')
    const profiles = this.profiles()
    if (profiles.some(row => profileOf(row) === null)) problems.push('a profile is not what was written')
    let [all, broken, unprofiled, readableReadings] = [0, 0, 0, 0]
    for (const row of this.rows<ChunkRow>(CHUNK_BEHIND, ({ firstPosition }) => firstPosition)) {
      all++
      if (!profiles.some(({ id }) => id === row.profile)) unprofiled++
      if (isSoundChunk(row)) readableReadings += row.readings
      else broken++
    }
    if (unprofiled > 0) problems.push('a profile of its readings cannot be read')
    if (broken > 0) problems.push(`${broken} of ${all} chunks are not what was written`)
    return { problems: problems.map(text => text.replaceAll('\n', ' ')), readableReadings }
  }

  private state(): BufferState | null {
    const state = tryTo(() => this.database?.prepare<[], BufferState>(SELECT_STATE).get() ?? null)
    const parsed = stateRow.safeParse(state)
    return parsed.success && parsed.data.settledPosition < parsed.data.nextPosition ? parsed.data : null
  }

  private epochs(): EpochRange[] {
    const rows = tryTo(() => this.database?.prepare<[], EpochRange>(SELECT_EPOCHS).all() ?? null) ?? []
    return rows.flatMap(row => epochRow.safeParse(row).data ?? [])
  }

  /** null where some of them cannot be read. */
  private clocks(): ClockRange[] | null {
    const rows = tryTo(() => this.database?.prepare<[], ClockRange>(SELECT_CLOCKS).all() ?? null)
    return z.array(clockRow).safeParse(rows).data ?? null
  }

  private profiles(): ProfileRow[] {
    return [...this.rows<ProfileRow>('SELECT id, digest, profile FROM profiles WHERE id > ? ORDER BY id LIMIT 1', row => row.id)]
  }

  /** null where some of them cannot be read. */
  private tombstones(): TombstoneRow[] | null {
    const rows = tryTo(() => this.database?.prepare<[], TombstoneRow>(`SELECT ${TOMBSTONE_COLUMNS} FROM tombstones`).all() ?? null)
    const parsed = z.array(tombstoneRow).safeParse(rows)
    return parsed.success ? parsed.data : null
  }

  /** All rows of a table that can be read, by rising keys; `sql` gives the first behind a key. */
  private *rows<Row>(sql: string, keyOf: (row: Row) => number): Generator<Row> {
    const { database } = this
    const statement = database === null ? null : tryTo(() => database.prepare<[number], Row>(sql))
    if (statement === null) return
    for (let key = 0; ; ) {
      const read = readBehind(statement, key)
      if (read === 'damaged') {
        const next = readableKeyBehind(statement, key)
        if (next === null) return
        key = next
        continue
      }
      if (read === undefined) return
      const readKey = keyOf(read)
      if (!(readKey > key)) return // out of order: what follows cannot be trusted
      key = readKey
      yield read
    }
  }
}

/** A flipped bit may have made anything of a row's values. */
const count = z.int().min(0)
const text = z.string().nullable()
const stateRow: z.ZodType<BufferState> = z.object({
  deviceId: z.string(),
  machineId: z.string(),
  nextPosition: z.int().min(1),
  settledPosition: count,
  publishedPosition: count,
  reservedPosition: count,
  held: count,
  bytes: count,
  eventTimeMs: z.int().nullable(),
  sourceKey: text,
  sourcePosition: text,
  sourceEnded: count,
  unreadableRows: count,
  nulledValues: count,
  lastAckedMs: z.int().nullable(),
  lastError: text,
  lastErrorMs: z.int().nullable(),
  salvage: text
})
const epochRow: z.ZodType<EpochRange> = z.object({ epoch: z.int().min(1), base: count, highestSeq: count.nullable() })
const clockRow: z.ZodType<ClockRange> = z.object({
  firstPosition: count,
  kind: z.enum(['held', 'rebased', 'set']),
  quality: z.enum(['synced', 'estimated']),
  bootId: z.string(),
  offsetMs: z.int(),
  floorMs: z.int()
})
const tombstoneRow: z.ZodType<TombstoneRow> = z
  .object({
    id: z.int(),
    epoch: z.int().min(1),
    firstSeq: z.int().min(1),
    lastSeq: z.int().min(1),
    keepEvery: count,
    reason: z.string().regex(/^[a-z-]{1,32}$/)
  })
  .refine(({ firstSeq, lastSeq, keepEvery }) => firstSeq <= lastSeq && keepEvery !== 1)

function isSoundChunk(row: ChunkRow): boolean {
  const numbers = [row.firstPosition, row.lastPosition, row.readings, row.profile, row.storedMs, row.crc]
  return numbers.every(Number.isSafeInteger) && row.payload instanceof Uint8Array && chunkCrc(row) === row.crc
}

const CHUNK_BEHIND = `SELECT ${CHUNK_COLUMNS} FROM chunks WHERE first_position > ? ORDER BY first_position LIMIT 1`

function readBehind<Row>(statement: Statement<[number], Row>, key: number): Row | undefined | 'damaged' {
  try {
    return statement.get(key)
  } catch {
    return 'damaged'
  }
}

/** The least key behind which something, or the end, can be read again: found by doubling steps, then by halving. null: there is none. */
function readableKeyBehind<Row>(statement: Statement<[number], Row>, key: number): number | null {
  let step = 1
  while (key + step < KEY_MAX && readBehind(statement, key + step) === 'damaged') step *= 2
  if (key + step >= KEY_MAX) return null
  let [low, high] = [Math.floor(step / 2), step]
  while (high - low > 1) {
    const middle = Math.floor((low + high) / 2)
    if (readBehind(statement, key + middle) === 'damaged') low = middle
    else high = middle
  }
  return key + high
}

function tryTo<T>(work: () => T): T | null {
  try {
    return work()
  } catch {
    return null
  }
}
