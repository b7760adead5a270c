import { epochFromBytes } from '@tidemark/protocol'
import { BufferOpenError, sqliteCode } from './buffer-error.js'
import { BUFFER_SCHEMA, BUFFER_SCHEMA_VERSION } from './buffer-schema.js'
import { BUSY_MS_MAX } from './limits.js'
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
  let database: Database | undefined
  try {
    database = new Sqlite(path, { timeout: BUSY_MS_MAX })
    database.pragma('journal_mode = WAL')
    database.pragma('synchronous = FULL')
    database.pragma('journal_size_limit = 4194304')
    const version = database.pragma('user_version', { simple: true })
    if (version === 0) create(database, options)
    else if (version !== BUFFER_SCHEMA_VERSION)
      throw new BufferOpenError(`${path} was written by another version of the agent (format ${version})`)
    const owner = database.prepare<[], string>('SELECT device_id FROM state').pluck().get()
    if (owner !== deviceId) {
      throw new BufferOpenError(`${path} holds readings of device ${owner}, not ${deviceId}: give this device a buffer.path of its own`)
    }
    return database
  } catch (error) {
    database?.close()
    if (error instanceof BufferOpenError) throw error
    throw new BufferOpenError(`cannot open the buffer ${path}: ${remedyFor(error)}`, { cause: error })
  }
}

function create(database: Database, { deviceId, machineId, randomBytes }: BufferFileOptions): void {
  database.transaction(() => {
    database.exec(BUFFER_SCHEMA)
    database
      .prepare('INSERT INTO state VALUES (1, ?, ?, 1, 0, 0, 0, 0, NULL, NULL, NULL, 0, 0, 0, NULL, NULL, NULL)')
      .run(deviceId, machineId)
    database.prepare('INSERT INTO epochs (epoch, base) VALUES (?, 0)').run(epochFromBytes(randomBytes()))
    database.pragma(`user_version = ${BUFFER_SCHEMA_VERSION}`)
  })()
}

function remedyFor(error: unknown): string {
  const code = sqliteCode(error)
  if (code === 'SQLITE_NOTADB' || code === 'SQLITE_CORRUPT') return 'it is no buffer, or damaged: move it away, or change buffer.path'
  if (code === 'SQLITE_FULL') return 'the disk is full: free some space'
  return `its folder must exist and be writable (${error instanceof Error ? error.message : String(error)})`
}
