/** What an agent's buffer holds: how far it has come, and what a kill has left behind. */
import { existsSync } from 'node:fs'
import { readSqlite } from './sqlite.js'

export interface AgentDisk {
  /** Rows of the recording that were given a seq. */
  readonly sampled: number
  /** Of them: acked, deleted. */
  readonly settled: number
  /** Readings in the buffer. */
  readonly held: number
}

export function readAgentDisk(bufferPath: string): AgentDisk {
  const nothing = { sampled: 0, settled: 0, held: 0 }
  if (!existsSync(bufferPath)) return nothing
  const sql = 'SELECT next_position - 1 AS sampled, settled_position AS settled, held FROM state'
  return readSqlite(bufferPath, database => {
    const hasState = database.prepare("SELECT count(*) FROM sqlite_master WHERE name = 'state'").pluck().get()
    return hasState === 0 ? nothing : ((database.prepare(sql).get() as AgentDisk | undefined) ?? nothing)
  })
}
