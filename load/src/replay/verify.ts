/** The whole proof: replay a recording under kills, then compare what the archive holds with it. */
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join, resolve } from 'node:path'
import { BUILT_IN_PROFILES, type Profile, profileSchema } from '@tidemark/protocol'
import { parse } from 'yaml'
import { compareFeatures } from './compare-features.js'
import { compareRows } from './compare-rows.js'
import { Draw } from './draw.js'
import { withDuckDB } from './duckdb.js'
import { expectRows } from './expectation.js'
import { countRepairs } from './gateway-disk.js'
import { readLedger } from './ledger.js'
import { readRecording } from './recording.js'
import { type ReplayEvents, replay } from './replay.js'
import { UsageError } from './replay-error.js'
import { setStage } from './stage.js'
import { judge, type Verdict } from './verdict.js'

export interface VerifyOptions {
  readonly csv: string
  readonly profile: string
  /** YAML of a profile that is not built in. */
  readonly profileFile?: string
  /** Of each process. */
  readonly kills: number
  readonly seed: number
  /** An empty or new folder that stays. Default: a temporary one, removed when all is well. */
  readonly keep?: string
  /** Called once it is known how many rows there are. */
  show(rows: number): ReplayEvents
  readonly signal: AbortSignal
}

export interface Verified {
  readonly verdict: Verdict
  readonly faults: readonly string[]
  /** Where data and logs are; null where they were removed. */
  readonly folder: string | null
}

/** What went wrong before there was anything to compare; the data and logs are in `folder`. */
export class UnfinishedReplayError extends Error {
  readonly code = 'UNFINISHED_REPLAY'
  constructor(
    readonly folder: string,
    cause: unknown
  ) {
    super(cause instanceof Error ? cause.message : String(cause), { cause })
  }
}

/** Throws a `UsageError` for what the person must change, and an `UnfinishedReplayError` where the replay could not be finished. */
export async function verifyReplay(options: VerifyOptions): Promise<Verified> {
  const startMs = performance.now()
  const profile = findProfile(options.profile, options.profileFile)
  const recording = readRecording(options.csv, profile)
  const folder = makeFolder(options.keep, 'replay')
  const isTemporary = options.keep === undefined
  try {
    const draw = new Draw(options.seed)
    const stage = setStage(folder, { recording, profile, profileFile: options.profileFile ?? null, draw })
    const expected = expectRows(recording, profile, Date.now())
    const { kills, signal } = options
    const replayed = await replay({ stage, recording, profile, kills, draw, signal, events: options.show(recording.rows.length) })
    const ledger = await readLedger(stage)
    const compared = { profile, deviceId: stage.deviceId, expected }
    const archive = join(stage.gatewayData, 'archive')
    const rows = await withDuckDB(connection => compareRows(connection, archive, compared))
    const features = await withDuckDB(connection => compareFeatures(connection, archive, compared))
    const seconds = Math.round((performance.now() - startMs) / 100) / 10
    const about = {
      recording: basename(options.csv),
      profile: profile.name,
      device: stage.deviceId,
      seed: options.seed,
      killsWanted: kills,
      seconds
    }
    const { verdict, faults } = judge({ ...about, expected, replayed, rows, features, ledger, repairs: countRepairs(stage.gatewayData) })
    const isKept = !isTemporary || !verdict.ok
    if (!isKept) rmSync(folder, { recursive: true })
    return { verdict, faults, folder: isKept ? folder : null }
  } catch (error) {
    const isWorthKeeping = !(error instanceof UsageError) && !options.signal.aborted
    if (isTemporary && !isWorthKeeping) rmSync(folder, { recursive: true })
    throw error instanceof UsageError || options.signal.aborted ? error : new UnfinishedReplayError(folder, error)
  }
}

/** Throws a `UsageError` where there is no such profile. */
export function findProfile(name: string, file: string | undefined): Profile {
  const profile = file === undefined ? BUILT_IN_PROFILES.find(candidate => candidate.name === name) : readProfile(file)
  if (profile === undefined) {
    const known = BUILT_IN_PROFILES.map(candidate => candidate.name).join(', ')
    throw new UsageError(`there is no built-in profile "${name}" (there are ${known}): give one of your own with --profile-file`)
  }
  if (profile.name !== name) throw new UsageError(`${file} describes the profile "${profile.name}", not "${name}": correct --profile`)
  return profile
}

function readProfile(path: string): Profile {
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (cause) {
    throw new UsageError(`cannot read the profile ${path} (${(cause as NodeJS.ErrnoException).code}): correct --profile-file`, { cause })
  }
  try {
    const checked = profileSchema.safeParse(parse(text))
    if (checked.success) return checked.data
    const [issue] = checked.error.issues
    throw new UsageError(`${path}: ${issue.path.join('.')}: ${issue.message}`)
  } catch (error) {
    if (error instanceof UsageError) throw error
    throw new UsageError(`${path} is no valid YAML: ${(error as Error).message.split('\n')[0]}`, { cause: error })
  }
}

/** A temporary folder, or the one that is to be kept, which must be new or empty. */
export function makeFolder(keep: string | undefined, what: string): string {
  if (keep === undefined) return mkdtempSync(join(tmpdir(), `tidemark-${what}-`))
  const folder = resolve(keep)
  if (existsSync(folder) && readdirSync(folder).length > 0) throw new UsageError(`${folder} is not empty: give --keep a new folder`)
  mkdirSync(folder, { recursive: true })
  return folder
}
