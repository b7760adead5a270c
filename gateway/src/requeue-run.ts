/**
 * Brings the messages of one requeue into the log: of a stopped gateway by itself, holding the data folder's lock, so that nobody else
 * writes the log meanwhile, and the next start takes them in; of a running one by posting them to it. Either way the archive is
 * read here. Killed at any time, it leaves whole entries or nothing.
 */
import { randomUUID } from 'node:crypto'
import { existsSync } from 'node:fs'
import { canBeGivenAgain, type QuarantineFilter, quarantinedMessages, requeueOf } from './archive/quarantine.js'
import { readArchiveState, withViews } from './archive/views.js'
import { type Config, ConfigError } from './config.js'
import { crashPoint } from './crash-point.js'
import { lockDataDir } from './data-lock.js'
import { packFrame, readFrames } from './log/frames.js'
import { SqliteLog, SqliteLogReader } from './log/sqlite-log.js'
import { encodeControl } from './processor/control.js'
import { encodeRequeue } from './processor/requeue.js'

export interface Requeued {
  /** Messages and rejected readings of them that are in the log now. */
  readonly messages: number
  readonly readings: number
  /** Rows that cannot be given again, as they name no event ID. */
  readonly unnamed: number
}

/** Where the messages go. */
export interface RequeueSink {
  add(deviceId: string, frame: Uint8Array): Promise<void>
  /** Resolves when all that was added is durable. */
  end(): Promise<void>
}

/** An entry ends when it holds this many bytes. */
export const REQUEUE_ENTRY_BYTES = 1024 * 1024

const ENTRIES_AT_ONCE = 64

/**
 * Throws a `NoArchiveError` where `dataDir` is no data folder, a `ConfigError` where its gateway runs or has not taken in an earlier
 * requeue. `config`: whose profiles are to judge; null: those of the gateway's last start.
 */
export async function requeue(
  dataDir: string,
  filter: QuarantineFilter,
  config: Config | null,
  onProgress: (requeued: Requeued) => void = () => {}
): Promise<Requeued> {
  const { paths } = readArchiveState(dataDir)
  const lock = lockDataDir(dataDir)
  try {
    checkLog(paths.log, dataDir)
    const log = new SqliteLog(paths.log)
    try {
      return await requeueInto(new LogSink(log, config === null ? null : startOf(config)), dataDir, filter, onProgress)
    } finally {
      log.close()
    }
  } finally {
    lock.close()
  }
}

function checkLog(path: string, dataDir: string): void {
  const { committedEntry } = readArchiveState(dataDir)
  if (!existsSync(path)) throw new ConfigError(`${dataDir} holds no log.sqlite: restore it, or choose another --data-dir`)
  const log = new SqliteLogReader(path)
  try {
    let after = committedEntry
    for (;;) {
      const entries = log.read(after, ENTRIES_AT_ONCE)
      if (entries.length === 0) break
      for (const { entry, frames } of entries) {
        for (const { kind } of readFrames(frames)) if (kind === 'requeue') throw waitingRequeue(dataDir)
        after = entry
      }
    }
    if (log.lastEntry < committedEntry)
      throw new ConfigError(`the log in ${dataDir} is older than the archive: restore the log.sqlite that belongs to it`)
  } finally {
    log.close()
  }
}

function waitingRequeue(dataDir: string): ConfigError {
  return new ConfigError(
    `an earlier requeue waits in the log of ${dataDir}: start the gateway, so that it takes that in, stop it, and requeue again`
  )
}

/** Reads the unresolved rows that fit the filter, and gives their messages to the sink. */
export async function requeueInto(
  sink: RequeueSink,
  dataDir: string,
  filter: QuarantineFilter,
  onProgress: (requeued: Requeued) => void = () => {}
): Promise<Requeued> {
  const run = randomUUID()
  const requeued = { messages: 0, readings: 0, unnamed: 0 }
  const use = async (...[connection, state]: Parameters<Parameters<typeof withViews<void>>[2]>) => {
    requeued.unnamed = 0
    for await (const message of quarantinedMessages(connection, state, filter)) {
      const frame = requeueOf(message, { run, asOfEntry: state.committedEntry })
      const readings = frame === null ? 0 : frame.accounted.length + frame.unaccounted.length + (frame.isWhole ? 1 : 0)
      requeued.unnamed += message.readings.filter(reading => !canBeGivenAgain(message.kind, reading)).length
      if (frame === null) continue
      await sink.add(message.deviceId, encodeRequeue(frame))
      requeued.messages++
      requeued.readings += readings
      onProgress(requeued)
    }
  }
  await withViews(dataDir, { ownFiles: false }, use, () => requeued.messages === 0)
  await sink.end()
  return requeued
}

/** The control frame that puts a configuration's profiles in force. */
export function startOf({ settings, profiles }: Config): Uint8Array {
  return encodeControl({ control: 'start', settings, profiles })
}

/** Packs frames into entries of a log that nobody else writes, behind a start where one is given. */
class LogSink implements RequeueSink {
  private parts: Buffer[] = []
  private bytes = 0

  constructor(
    private readonly log: SqliteLog,
    private start: Uint8Array | null
  ) {}

  async add(deviceId: string, payload: Uint8Array): Promise<void> {
    if (this.start !== null) this.parts.push(packFrame('control', '', this.start))
    this.start = null
    const frame = packFrame('requeue', deviceId, payload)
    this.parts.push(frame)
    this.bytes += frame.length
    if (this.bytes >= REQUEUE_ENTRY_BYTES) await this.end()
  }

  async end(): Promise<void> {
    if (this.parts.length === 0) return
    this.log.append(Buffer.concat(this.parts), Date.now())
    crashPoint('append')
    this.parts = []
    this.bytes = 0
  }
}
