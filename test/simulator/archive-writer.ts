/**
 * A gateway in miniature for tests: takes in what a broker received, drops duplicates, judges ranges and times, and writes the archive
 * with DuckDB. It knows nothing of the simulator's functions.
 */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { DuckDBInstance } from '@duckdb/node-api'
import { decodeBatch, ROTATING_MACHINE, type Value, valueAt } from '@tidemark/protocol'
import type { Received } from './mqtt-broker.js'

export interface ArchivedRow {
  deviceId: string
  epoch: number
  seq: number
  eventTimeMs: number
  late: boolean
  metrics: Value[]
}

export interface QuarantinedRow {
  deviceId: string
  epoch: number | null
  seq: number | null
  reason: string
}

export interface Archive {
  rows: ArchivedRow[]
  quarantine: QuarantinedRow[]
}

/** `nowMs`: what no event time may be far ahead of. */
export function takeIn(received: readonly Received[], nowMs = Date.now()): Archive {
  const archive: Archive = { rows: [], quarantine: [] }
  const seen = new Set<string>()
  const watermarks = new Map<string, Watermark>()
  for (const { deviceId, payload } of received) {
    const batch = decodeBatch(payload, () => ROTATING_MACHINE)
    if (batch === null) {
      archive.quarantine.push({ deviceId, epoch: null, seq: null, reason: 'undecodable' })
      continue
    }
    for (const [i, seq] of batch.header.seqs.entries()) {
      const { epoch } = batch.header
      const eventId = `${deviceId} ${epoch} ${seq}`
      if (seen.has(eventId)) continue
      seen.add(eventId)
      const metrics = ROTATING_MACHINE.metrics.map((metric, m) => valueAt(batch.columns[m], metric, i))
      const eventTimeMs = batch.eventTimesMs![i]
      const isAhead = eventTimeMs > nowMs + 300_000
      const reason = isAhead ? 'event-time-in-future' : isInRange(metrics) ? null : 'metric-out-of-range'
      const watermark = watermarks.get(deviceId) ?? new Watermark()
      watermarks.set(deviceId, watermark)
      if (reason !== null) archive.quarantine.push({ deviceId, epoch, seq, reason })
      else archive.rows.push({ deviceId, epoch, seq, eventTimeMs, late: eventTimeMs < watermark.ms, metrics })
      watermark.see(seq, isAhead ? Number.NEGATIVE_INFINITY : eventTimeMs)
    }
  }
  return archive
}

/** The event time of the highest reading below which no seq is missing. */
class Watermark {
  ms = Number.NEGATIVE_INFINITY
  private nextSeq = 1
  private readonly waiting = new Map<number, number>()

  see(seq: number, eventTimeMs: number): void {
    this.waiting.set(seq, eventTimeMs)
    for (let ms = this.waiting.get(this.nextSeq); ms !== undefined; ms = this.waiting.get(this.nextSeq)) {
      this.ms = Math.max(this.ms, ms)
      this.waiting.delete(this.nextSeq++)
    }
  }
}

function isInRange(metrics: readonly Value[]): boolean {
  return ROTATING_MACHINE.metrics.every(({ min, max }, m) => {
    const value = metrics[m]
    return typeof value !== 'number' || ((min === undefined || value >= min) && (max === undefined || value <= max))
  })
}

/** Writes the archive's Parquet files into `dir`, in two files a layer. */
export async function writeArchive(dir: string, { rows, quarantine }: Archive): Promise<void> {
  const instance = await DuckDBInstance.create(':memory:', { threads: '1' })
  const connection = await instance.connect()
  const types = ROTATING_MACHINE.metrics.map(
    ({ name, type }) => `${name} ${{ float: 'DOUBLE', int: 'BIGINT', bool: 'BOOLEAN', string: 'VARCHAR' }[type]}`
  )
  await connection.run(
    `CREATE TABLE readings (device_id VARCHAR, event_time TIMESTAMPTZ, epoch BIGINT, seq BIGINT, late BOOLEAN, clock VARCHAR, ${types.join(', ')})`
  )
  await connection.run('CREATE TABLE quarantine (device_id VARCHAR, reason VARCHAR, epoch BIGINT, seq BIGINT, accounted BOOLEAN)')
  for (const part of slices(rows, 500)) {
    const values = part.map(
      r =>
        `('${r.deviceId}', to_timestamp(${r.eventTimeMs} / 1000.0), ${r.epoch}, ${r.seq}, ${r.late}, 'synced', ${r.metrics.map(literal)})`
    )
    await connection.run(`INSERT INTO readings VALUES ${values.join(', ')}`)
  }
  for (const part of slices(quarantine, 500)) {
    const values = part.map(q => `('${q.deviceId}', '${q.reason}', ${q.epoch}, ${q.seq}, ${q.seq !== null})`)
    await connection.run(`INSERT INTO quarantine VALUES ${values.join(', ')}`)
  }
  for (const [table, layer] of [
    ['readings', 'processed/rotating-machine'],
    ['quarantine', 'quarantine']
  ]) {
    for (const half of [0, 1]) {
      const folder = join(dir, layer, 'date=2026-01-01', `hour=0${half}`)
      mkdirSync(folder, { recursive: true })
      await connection.run(`COPY (SELECT * FROM ${table} WHERE rowid % 2 = ${half}) TO '${folder}/0-1-${half}.parquet' (FORMAT parquet)`)
    }
  }
  connection.closeSync()
  instance.closeSync()
}

function literal(value: Value): string {
  return typeof value === 'string' ? `'${value}'` : String(value)
}

function* slices<T>(values: readonly T[], size: number): Generator<readonly T[]> {
  for (let i = 0; i < values.length; i += size) yield values.slice(i, i + size)
}
