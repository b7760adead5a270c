/**
 * Reads what can be read of a buffer's file that is damaged: row by row, around pages that are broken. Writes nothing of its own; SQLite
 * may take the write-ahead log in.
 */

import type { Remains } from './buffer-salvage.js'
import {
  type BufferState,
  CHUNK_COLUMNS,
  type ChunkRow,
  chunkCrc,
  SELECT_EPOCHS,
  SELECT_STATE,
  TOMBSTONE_COLUMNS,
  type TombstoneRow
} from './buffer-schema.js'
import type { EpochRange } from './core/epochs.js'
import { type Database, Sqlite, type Statement } from './sqlite.js'

const KEY_MAX = Number.MAX_SAFE_INTEGER

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
      profiles: this.rows<{ id: number; digest: string; profile: string }>(
        'SELECT id, digest, profile FROM profiles WHERE id > ? ORDER BY id LIMIT 1',
        row => row.id
      ),
      tombstones: this.rows<TombstoneRow>(`SELECT ${TOMBSTONE_COLUMNS} FROM tombstones WHERE id > ? ORDER BY id LIMIT 1`, row => row.id),
      chunks: this.chunks()
    }
  }

  /** What SQLite and the chunks' checksums say is wrong, in a few lines; empty where nothing is. */
  problems(): string[] {
    const { database } = this
    if (database === null) return ['the file is no database any more']
    const found = tryTo(() => database.pragma('integrity_check(5)', { simple: false })) as { integrity_check: string }[] | null
    if (found === null) return ['the file cannot be read']
    const problems = found.map(row => row.integrity_check).filter(text => text !== 'ok')
    if (this.state() === null) problems.push('its state cannot be read')
    if (this.epochs().length === 0) problems.push('its epochs cannot be read')
    const all = this.rows<ChunkRow>(CHUNK_BEHIND, row => row.firstPosition)
    const broken = all.filter(row => chunkCrc(row) !== row.crc).length
    if (broken > 0) problems.push(`${broken} of ${all.length} chunks are not what was written`)
    return problems.map(text => text.replaceAll('\n', ' '))
  }

  private state(): BufferState | null {
    const state = tryTo(() => this.database?.prepare<[], BufferState>(SELECT_STATE).get() ?? null)
    const isSound = state !== null && [state.nextPosition, state.settledPosition, state.reservedPosition].every(Number.isSafeInteger)
    return isSound && state.nextPosition > 0 && state.settledPosition < state.nextPosition ? state : null
  }

  private epochs(): EpochRange[] {
    return tryTo(() => this.database?.prepare<[], EpochRange>(SELECT_EPOCHS).all() ?? null) ?? []
  }

  private chunks(): ChunkRow[] {
    return this.rows<ChunkRow>(CHUNK_BEHIND, row => row.firstPosition).filter(row => chunkCrc(row) === row.crc)
  }

  /** All rows of a table that can be read, by rising keys; `sql` gives the first behind a key. */
  private rows<Row>(sql: string, keyOf: (row: Row) => number): Row[] {
    const { database } = this
    const statement = database === null ? null : tryTo(() => database.prepare<[number], Row>(sql))
    if (statement === null) return []
    const rows: Row[] = []
    for (let key = 0; ; ) {
      const read = readBehind(statement, key)
      if (read === 'damaged') {
        const next = readableKeyBehind(statement, key)
        if (next === null) return rows
        key = next
        continue
      }
      if (read === undefined) return rows
      const readKey = keyOf(read)
      if (!(readKey > key)) return rows // out of order: what follows cannot be trusted
      key = readKey
      rows.push(read)
    }
  }
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
