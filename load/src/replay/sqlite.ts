import { createRequire } from 'node:module'
import type BetterSqlite3 from 'better-sqlite3'

export type Database = BetterSqlite3.Database

/**
 * better-sqlite3, the one that this Node can load: 13 (Node-API) crashes on Node 20, 12 on Node 24. Both are optional
 * dependencies; npm installs 13 only where its `engines` allow it.
 */
const require = createRequire(import.meta.url)
const nodeMajor = Number(process.versions.node.split('.')[0])

const Sqlite: typeof BetterSqlite3 = require(nodeMajor < 22 ? 'better-sqlite3-node20' : 'better-sqlite3')

/** Calls `read` with the file, opened beside whoever writes it. Throws where there is none. */
export function readSqlite<T>(path: string, read: (database: Database) => T): T {
  const database = new Sqlite(path, { readonly: true, fileMustExist: true, timeout: 10_000 })
  try {
    return read(database)
  } finally {
    database.close()
  }
}
