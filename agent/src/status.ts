/** What `tidemark-agent status` shows, read from the buffer's file beside a running agent or without one. */
import { existsSync } from 'node:fs'
import { BufferOpenError } from './buffer-error.js'
import { isLocked } from './buffer-lock.js'
import { type BufferState, SELECT_EPOCHS, SELECT_STATE } from './buffer-schema.js'
import type { EpochRange } from './core/epochs.js'
import { Sqlite } from './sqlite.js'

export interface AgentStatus {
  readonly device: string
  readonly running: boolean
  /** The epoch of new readings, and what was sampled in it. */
  readonly epoch: number
  readonly sampled: number
  /** Readings of all epochs that were sampled, and what has become of them: sampled_total = acked + shed + buffered. */
  readonly sampled_total: number
  /** Acked by the gateway, or shed on the record. */
  readonly settled: number
  readonly buffered: number
  readonly buffer_bytes: number
  /** How long ago the oldest buffered reading was stored, in s; null where none is buffered. */
  readonly oldest_age_s: number | null
  readonly tombstones_to_declare: number
  readonly source: string | null
  readonly source_position: unknown
  readonly source_ended: boolean
  /** Rows that could not be read and were declared as shed, and values that could not be read and are null. */
  readonly unreadable_rows: number
  readonly unreadable_values: number
  readonly last_acked: string | null
  /** What is wrong now; null while batches are acked. */
  readonly last_error: string | null
  readonly last_error_at: string | null
  /** Seqs that a `spill` buffer has reserved and not given: with it, figures are those of the last commit. */
  readonly reserved: number
  /** What the last salvage of a damaged buffer kept and lost; null: there never was one. */
  readonly salvage: string | null
}

/** Throws a `BufferOpenError` where there is no buffer yet. */
export function readStatus(path: string, nowMs: number): AgentStatus {
  if (!existsSync(path)) throw new BufferOpenError(`there is no buffer ${path} yet: start the agent first`)
  const database = new Sqlite(path, { readonly: true, fileMustExist: true, timeout: 2000 })
  try {
    return database.transaction(() => {
      const state = database.prepare<[], BufferState>(SELECT_STATE).get()!
      const epochs = database.prepare<[], EpochRange>(SELECT_EPOCHS).all()
      const oldestMs = database.prepare<[], number>('SELECT stored_ms FROM chunks ORDER BY first_position LIMIT 1').pluck().get()
      const tombstones = database.prepare<[], number>('SELECT count(*) FROM tombstones').pluck().get()!
      return describe(path, state, epochs, oldestMs ?? null, tombstones, nowMs)
    })()
  } catch (error) {
    throw new BufferOpenError(`cannot read the buffer ${path}: ${error instanceof Error ? error.message : error}`, { cause: error })
  } finally {
    database.close()
  }
}

function describe(
  path: string,
  state: BufferState,
  epochs: readonly EpochRange[],
  oldestMs: number | null,
  tombstones: number,
  nowMs: number
): AgentStatus {
  const { epoch, base } = epochs[epochs.length - 1]
  const sampledTotal = state.nextPosition - 1
  const iso = (ms: number | null) => (ms === null ? null : new Date(ms).toISOString())
  return {
    device: state.deviceId,
    running: isLocked(path),
    epoch,
    sampled: sampledTotal - base,
    sampled_total: sampledTotal,
    settled: sampledTotal - state.held,
    buffered: state.held,
    buffer_bytes: state.bytes,
    oldest_age_s: oldestMs === null ? null : Math.max(0, Math.round((nowMs - oldestMs) / 1000)),
    tombstones_to_declare: tombstones,
    source: state.sourceKey,
    source_position: state.sourcePosition === null ? null : JSON.parse(state.sourcePosition),
    source_ended: state.sourceEnded === 1,
    unreadable_rows: state.unreadableRows,
    unreadable_values: state.nulledValues,
    last_acked: iso(state.lastAckedMs),
    last_error: state.lastError,
    last_error_at: iso(state.lastErrorMs),
    reserved: Math.max(0, state.reservedPosition - sampledTotal),
    salvage: state.salvage
  }
}

/** The status as lines for people. */
export function formatStatus(status: AgentStatus): string {
  const { oldest_age_s: age } = status
  const lines: [string, string][] = [
    ['device', `${status.device} (${status.running ? 'running' : 'stopped'})`],
    ['epoch', String(status.epoch)],
    ['sampled', `${status.sampled_total}${status.sampled === status.sampled_total ? '' : ` (${status.sampled} in this epoch)`}`],
    ['acked or shed', String(status.settled)],
    ['buffered', `${status.buffered}${age === null ? '' : `, the oldest for ${age} s`} (${status.buffer_bytes} bytes)`],
    [
      'source',
      status.source === null
        ? 'no position'
        : `${status.source}${status.source_ended ? ' (ended)' : ''} ${JSON.stringify(status.source_position)}`
    ]
  ]
  if (status.unreadable_rows + status.unreadable_values > 0)
    lines.push(['unreadable', `${status.unreadable_rows} rows, ${status.unreadable_values} values`])
  if (status.reserved > 0) lines.push(['as of', 'the last commit (durability spill: what is acked in time is never written)'])
  if (status.salvage !== null) lines.push(['salvage', status.salvage])
  lines.push(['last acked', status.last_acked ?? 'never'])
  if (status.last_error !== null) lines.push(['problem', `${status.last_error} (since ${status.last_error_at})`])
  return lines.map(([name, value]) => `${name.padEnd(14)}${value}`).join('\n')
}
