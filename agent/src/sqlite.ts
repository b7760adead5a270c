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

export const Sqlite: typeof BetterSqlite3 = require(nodeMajor < 22 ? 'better-sqlite3-node20' : 'better-sqlite3')
