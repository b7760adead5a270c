import { createRequire } from 'node:module'
import type BetterSqlite3 from 'better-sqlite3'

export type Database = BetterSqlite3.Database
export type Statement<Parameters extends unknown[], Row = unknown> = BetterSqlite3.Statement<Parameters, Row>

/**
 * better-sqlite3, the one that this Node can load: 13 (Node-API) crashes on Node 20, 12 on Node 24. Both are optional
 * dependencies; npm installs 13 only where its `engines` allow it.
 */
const require = createRequire(import.meta.url)
const nodeMajor = Number(process.versions.node.split('.')[0])

export const Sqlite: typeof BetterSqlite3 = load(nodeMajor < 22 ? 'better-sqlite3-node20' : 'better-sqlite3')

/** npm leaves out an optional dependency that it cannot fetch or build, and says nothing. */
function load(name: string): typeof BetterSqlite3 {
  try {
    return require(name)
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException
    if (code !== 'MODULE_NOT_FOUND' || !message.includes(name)) throw cause
    throw new Error(
      `npm could not fetch or build ${name} when it installed this: install a compiler (apt-get install g++ make python3), then npm install -g the tarball again`,
      { cause }
    )
  }
}
