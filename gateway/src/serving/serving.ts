/**
 * What is served of readings and features: asks the processor for what no file holds and for the list of files, and the worker to
 * read these. Both are of one moment; where a file has moved before it was read, both are asked anew.
 */
import { HOUR_MS } from '../archive/paths.js'
import type { PipelineClient } from '../pipeline/pipeline-client.js'
import type { AsOfEntry, ServedRows } from '../pipeline/served-state.js'
import { END_OF_TIME_MS } from './as-of-query.js'
import type { FeatureCells, Rows, Wanted } from './messages.js'
import type { ReadingKey } from './reading-key.js'
import { FileVanishedError, ServingBusyError, type ServingClient } from './serving-client.js'

export interface ReadingsRequest {
  readonly deviceId: string
  /** Event times, Unix ms: [fromMs, toMs). */
  readonly fromMs: number
  readonly toMs: number
  readonly after: ReadingKey | null
  readonly limit: number
  readonly metrics: readonly string[] | null
}

export interface AsOfRequest {
  readonly wanted: readonly Wanted[]
  /** null: the only one that there is. */
  readonly profile: string | null
  readonly embargoMs: number
}

/** `profile` null: there are no feature rows. */
export interface AsOfAnswer extends AsOfEntry {
  readonly profile: string | null
  readonly rows: readonly (FeatureCells | null)[]
}

/** The features of several profiles could be meant. */
export class ProfileNeededError extends Error {
  readonly code = 'PROFILE_NEEDED'
  constructor(readonly profiles: readonly string[]) {
    super(`the archive has features of several profiles: name one as "profile" (${profiles.join(', ')})`)
  }
}

/** A row is looked for in so much time before the one that is asked for, then in more: most are as young as can be. */
const LOOK_BACK_MS = [2 * HOUR_MS, 26 * HOUR_MS, 8 * 24 * HOUR_MS, Number.POSITIVE_INFINITY]

/** An answer is begun so many times at most: only a file that is truly gone is missed that often. */
const ATTEMPTS_MAX = 5

/** What is looked for, and where it is likely to be: event times, Unix ms. */
interface Sought extends Wanted {
  readonly fromMs: number
  readonly toMs: number
}

export class Serving {
  constructor(
    private readonly pipeline: Pick<PipelineClient, 'ask'>,
    /** What is asked is answered as of its present end. */
    private readonly log: { readonly lastEntry: number },
    private readonly client: ServingClient
  ) {}

  /** The answer as JSON; null: the device is not known. */
  async readings(request: ReadingsRequest): Promise<Uint8Array<ArrayBuffer> | null> {
    return await this.inTurn(async () => {
      const { deviceId, fromMs, toMs, after, limit } = request
      const start = after === null ? fromMs : Math.max(fromMs, after[0])
      const rows = await this.pipeline.ask(
        { ask: 'reading-rows', deviceId, fromMs: start, toMs, after, rowsMax: limit + 1 },
        this.log.lastEntry
      )
      return rows.known.length === 0 ? null : await this.client.read({ job: 'readings', ...request, rows: wholeRows(rows) })
    })
  }

  /** The latest row of each profile of the device; null: the device is not known. */
  async latest(deviceId: string): Promise<(AsOfEntry & { readonly rows: readonly FeatureCells[] }) | null> {
    const latest = await this.pipeline.ask({ ask: 'latest-features', deviceId }, this.log.lastEntry)
    if (latest === null) return null
    const rows: FeatureCells[] = []
    for (const { profile, row, likely } of latest.profiles) {
      if (row !== null) rows.push({ profile, ...Object.fromEntries(row.columns.map(({ name }, k) => [name, row.cells[k]])) })
      else {
        const sought = { deviceId, timeMs: END_OF_TIME_MS, ...likely }
        const found = await this.inTurn(() => this.seek([sought], profile, 0))
        if (found.rows[0] !== null) rows.push(found.rows[0])
      }
    }
    return { entry: latest.entry, ingestMs: latest.ingestMs, rows }
  }

  /** Rejects with a `ProfileNeededError` where none is named and there are several. */
  async asOf({ wanted, profile, embargoMs }: AsOfRequest): Promise<AsOfAnswer> {
    const sought = wanted.map(each => ({ ...each, fromMs: each.timeMs, toMs: each.timeMs }))
    return await this.inTurn(() => this.seek(sought, profile, embargoMs))
  }

  private async seek(sought: readonly Sought[], profile: string | null, embargoMs: number): Promise<AsOfAnswer> {
    const rows: (FeatureCells | null)[] = sought.map(() => null)
    let left = sought.map((each, place) => ({ ...each, place }))
    let answer: Pick<AsOfAnswer, 'entry' | 'ingestMs' | 'profile'> | null = null
    for (const backMs of LOOK_BACK_MS) {
      const hours = mergedHours(left.map(({ fromMs, toMs }) => ({ fromMs: hourOf(fromMs - backMs), throughMs: hourOf(toMs) })))
      const deviceIds = [...new Set(left.map(({ deviceId }) => deviceId))]
      const served: ServedRows = await this.pipeline.ask(
        { ask: 'feature-rows', deviceIds, profile: answer?.profile ?? profile, hours },
        this.log.lastEntry
      )
      answer ??= { entry: served.entry, ingestMs: served.ingestMs, profile: chosenProfile(profile, served.profiles) }
      if (answer.profile === null) break
      const known = new Set(served.known)
      left = left.filter(({ deviceId }) => known.has(deviceId))
      if (left.length === 0) break
      const found = await this.client.read({ job: 'as-of', wanted: left, embargoMs, rows: ofProfile(wholeRows(served), answer.profile) })
      for (const [k, { place, fromMs }] of left.entries()) {
        const row = found[k]
        // older ones were read for others: between them and here there may be better ones
        if (row !== null && Number(row.as_of) >= hourOf(fromMs - backMs)) rows[place] = row
      }
      left = left.filter(({ place }) => rows[place] === null)
      if (left.length === 0) break
    }
    return { ...answer!, rows }
  }

  private async inTurn<T>(work: () => Promise<T>): Promise<T> {
    return await this.client.inTurn(async () => {
      for (let attempt = 1; ; attempt++) {
        try {
          return await work()
        } catch (error) {
          if (!(error instanceof FileVanishedError) || attempt === ATTEMPTS_MAX) throw error
        }
      }
    })
  }
}

function hourOf(timeMs: number): number {
  return Number.isFinite(timeMs) ? Math.floor(timeMs / HOUR_MS) * HOUR_MS : Number.MIN_SAFE_INTEGER
}

/** The same hours, in ranges that do not overlap. */
export function mergedHours(ranges: readonly { readonly fromMs: number; readonly throughMs: number }[]): {
  fromMs: number
  throughMs: number
}[] {
  const merged: { fromMs: number; throughMs: number }[] = []
  for (const { fromMs, throughMs } of [...ranges].sort((a, b) => a.fromMs - b.fromMs)) {
    const last = merged.at(-1)
    if (last !== undefined && fromMs <= last.throughMs + HOUR_MS) last.throughMs = Math.max(last.throughMs, throughMs)
    else merged.push({ fromMs, throughMs })
  }
  return merged
}

function chosenProfile(wanted: string | null, profiles: readonly string[]): string | null {
  if (wanted !== null) return wanted
  if (profiles.length > 1) throw new ProfileNeededError(profiles)
  return profiles[0] ?? null
}

function ofProfile({ files, memory, ...rows }: Rows, profile: string): Rows {
  return { ...rows, files: files.filter(file => file.profile === profile), memory: memory.filter(table => table.profile === profile) }
}

function wholeRows({ entry, ingestMs, files, memory }: ServedRows): Rows {
  if (memory === null) throw new ServingBusyError('a backlog is being written out: ask for fewer devices, or again later')
  return { entry, ingestMs, files, memory }
}
