import { epochFromBytes } from '@tidemark/protocol'
import { BufferDamagedError, BufferOpenError, sqliteCode } from './buffer-error.js'
import { readMark } from './buffer-mark.js'
import { BUFFER_SCHEMA, BUFFER_SCHEMA_VERSION } from './buffer-schema.js'
import { BUSY_MS_MAX, PAGE_BYTES, WAL_PAGES_MAX } from './limits.js'
import { type Database, Sqlite } from './sqlite.js'

/** Opens and creates the buffer's file. */

export interface BufferFileOptions {
  readonly path: string
  readonly deviceId: string
  readonly machineId: string
  readonly randomBytes: () => Uint8Array
}

/** The file, ready for use; created with a new epoch where there is none. Throws a `BufferOpenError`. */
export function openBufferFile(options: BufferFileOptions): Database {
  const { path, deviceId } = options
  const isOurs = readMark(path, deviceId) !== null
  let database: Database | undefined
  try {
    database = new Sqlite(path, { timeout: BUSY_MS_MAX })
    database.pragma(`page_size = ${PAGE_BYTES}`)
    database.pragma('auto_vacuum = INCREMENTAL') // of a new file; pages that fell free can be given back
    database.pragma('journal_mode = WAL')
    database.pragma('synchronous = FULL')
    database.pragma(`wal_autocheckpoint = ${WAL_PAGES_MAX}`)
    database.pragma(`journal_size_limit = ${WAL_PAGES_MAX * PAGE_BYTES}`)
    const version = database.pragma('user_version', { simple: true })
    if (version === 0) create(database, options)
    else if (version !== BUFFER_SCHEMA_VERSION) {
      if (isOurs) throw new BufferDamagedError(`its format is ${version}`)
      throw new BufferOpenError(`${path} was written by another version of the agent (format ${version})`)
    }
    const owner = ownerOf(database)
    if (owner !== deviceId) {
      if (isOurs || owner === undefined) throw new BufferDamagedError('its state cannot be read')
      throw new BufferOpenError(`${path} holds readings of device ${owner}, not ${deviceId}: give this device a buffer.path of its own`)
    }
    return database
  } catch (error) {
    database?.close()
    if (error instanceof BufferOpenError || error instanceof BufferDamagedError) throw error
    throw new BufferOpenError(`cannot open the buffer ${path}: ${remedyFor(error)}`, { cause: error })
  }
}

function ownerOf(database: Database): string | undefined {
  try {
    return database.prepare<[], string>('SELECT device_id FROM state').pluck().get()
  } catch (error) {
    if (sqliteCode(error) !== 'SQLITE_ERROR') throw error
    throw new BufferDamagedError('it has no state', { cause: error }) // a database without our tables
  }
}

function create(database: Database, { deviceId, machineId, randomBytes }: BufferFileOptions): void {
  database.transaction(() => {
    database.exec(BUFFER_SCHEMA)
    database
      .prepare('INSERT INTO state VALUES (1, ?, ?, 1, 0, 0, 0, 0, 0, NULL, NULL, NULL, 0, 0, 0, NULL, NULL, NULL, NULL)')
      .run(deviceId, machineId)
    database.prepare('INSERT INTO epochs (epoch, base) VALUES (?, 0)').run(epochFromBytes(randomBytes()))
    database.pragma(`user_version = ${BUFFER_SCHEMA_VERSION}`)
  })()
}

function remedyFor(error: unknown): string {
  const code = sqliteCode(error)
  if (code === 'SQLITE_NOTADB' || code === 'SQLITE_CORRUPT')
    return 'it is no buffer, or damaged: tidemark-agent doctor --repair keeps what can be read'
  if (code === 'SQLITE_FULL') return 'the disk is full: free some space'
  return `its folder must exist and be writable (${error instanceof Error ? error.message : String(error)})`
}
