/**
 * What `tidemark-agent status` shows: what the buffer's file says, beside a running agent or without one, and what only the running
 * agent knows, over its socket.
 */
import { existsSync } from 'node:fs'
import type { ClockReport } from './agent-clock.js'
import { BufferOpenError } from './buffer-error.js'
import { isLocked } from './buffer-lock.js'
import { type BufferState, SELECT_EPOCHS, SELECT_STATE } from './buffer-schema.js'
import type { EpochRange } from './core/epochs.js'
import { LIVE_WAIT_MS } from './limits.js'
import { type LiveReport, liveLines, liveSocketPath, type SourceReport } from './live-socket.js'
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

/** The status with what a running agent says of its sources and its clock; null where none runs, or it cannot be asked. */
export interface LiveStatus extends AgentStatus {
  readonly sources: readonly SourceReport[] | null
  readonly clock: ClockReport | null
  readonly disk_problem: string | null
}

/** As `readStatus`. */
export async function readLiveStatus(path: string, nowMs: number): Promise<LiveStatus> {
  const status = readStatus(path, nowMs)
  const report = status.running ? await askAgent(path) : null
  return { ...status, sources: report?.sources ?? null, clock: report?.clock ?? null, disk_problem: report?.problem ?? null }
}

async function askAgent(path: string): Promise<LiveReport | null> {
  try {
    for await (const line of liveLines(liveSocketPath(path), AbortSignal.timeout(LIVE_WAIT_MS))) if (line.type === 'report') return line
  } catch {
    // of another user, or about to end: what the file says is all there is
  }
  return null
}

/** The status as lines for people. */
export function formatStatus(status: LiveStatus): string {
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
  for (const { source, state, since, failures, last_error: error } of status.sources ?? []) {
    const trouble = state === 'ok' || error === null ? '' : `: ${error}${failures > 1 ? ` (${failures} times in a row)` : ''}`
    lines.push([`  ${source}`, `${state} since ${since}${trouble}`])
  }
  if (status.clock !== null) lines.push(['clock', describeClock(status.clock)])
  if (status.disk_problem !== null) lines.push(['disk', status.disk_problem])
  lines.push(['last acked', status.last_acked ?? 'never'])
  if (status.last_error !== null) lines.push(['problem', `${status.last_error} (since ${status.last_error_at})`])
  return lines.map(([name, value]) => `${name.padEnd(13)} ${value}`).join('\n')
}

function describeClock({ state, because, gateway_ahead_ms: aheadMs }: ClockReport): string {
  const gateway = aheadMs === null ? '' : `; the gateway's is ${Math.abs(aheadMs)} ms ${aheadMs < 0 ? 'behind' : 'ahead'}`
  return state === 'held' ? `not set: readings are held until it is${gateway}` : `${state} (${because})${gateway}`
}
