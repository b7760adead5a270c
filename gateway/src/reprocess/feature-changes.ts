/**
 * Which feature rows a run makes wrong, and what is done about them. Nothing that is out is taken back: whoever asks what was known at some
 * time must get the answer of that time. So rows that would be others now are marked for a repair, which lets them out as the next revision,
 * known since the run; and a hop that holds no reading any more gets a row that says so.
 */

import { statSync } from 'node:fs'
import { join } from 'node:path'
import type { CatalogFile } from '../archive/catalog.js'
import { columnsDigest } from '../archive/commit.js'
import { quoteName, quoteText } from '../archive/parquet.js'
import { type DataPaths, HOUR_MS, reprocessedPath } from '../archive/paths.js'
import { mergingPath } from '../archive/swap.js'
import { type Plan, planFeatures } from '../processor/feature-plan.js'
import { PROCESSOR_VERSION } from '../processor/feature-rows.js'
import { FEATURE, featuresLayout } from '../processor/layouts.js'
import type { Processor } from '../processor/processor.js'
import type { Changes } from './changes.js'
import type { ReplayedFile } from './replay.js'
import type { ScratchDatabase } from './scratch-database.js'

export interface FeatureOptions {
  readonly paths: DataPaths
  readonly scratch: ScratchDatabase
  readonly changes: Changes
  readonly processor: Processor
  /** By name: those whose features are computed. */
  readonly plans: ReadonlyMap<string, Plan>
  /** Where a file of the archive as it will be lies now. */
  readonly place: (file: CatalogFile) => string
  /** The processed and curated files of the archive as it will be. */
  readonly files: readonly CatalogFile[]
  readonly atMs: number
  /** The new files' part of the name. */
  readonly name: { readonly shard: number; readonly firstEntry: number; readonly lastEntry: number }
  readonly number: number
}

/** The readings of a profile that were taken in at [fromMs, toMs) have other features now. */
export async function changeAll(
  { scratch }: Pick<FeatureOptions, 'scratch'>,
  profile: string,
  replayed: readonly ReplayedFile[],
  fromMs: number,
  toMs: number
): Promise<void> {
  for (const { path } of replayed.filter(file => file.layer === 'processed' && file.profile === profile)) {
    await scratch.connection.run(`INSERT INTO changed SELECT ${quoteText(profile)}, device_id, min(epoch_ms(event_time)), max(epoch_ms(event_time))
      FROM read_parquet(${quoteText(path)}, hive_partitioning = false)
      WHERE ingest_time >= make_timestamptz(${fromMs * 1000}) AND ingest_time < make_timestamptz(${toMs * 1000}) GROUP BY device_id`)
  }
}

/** Marks what is to be repaired, and returns the files with rows of hops that are empty now. */
export async function changeFeatures(options: FeatureOptions): Promise<CatalogFile[]> {
  const { scratch, processor } = options
  const devices = (await scratch.rows('SELECT DISTINCT profile, device_id FROM changed ORDER BY ALL')).map(row => row.map(String))
  const files: CatalogFile[] = []
  for (const profile of new Set(devices.map(([name]) => name))) {
    const ids = devices.filter(([name]) => name === profile).map(([, id]) => id)
    const plan = options.plans.get(profile) ?? ids.map(id => processor.featuresOf(id, profile)?.plan).find(known => known !== undefined)
    if (plan === undefined) continue // no start knows the profile, and no device has features of it
    await noteState(options, profile, ids)
    await mark(options, plan)
    files.push(...(await emptyHops(options, plan)))
    await keepRevisions(options, profile)
  }
  return files
}

/** How far the devices' rows are out, and which of them can go out again. */
async function noteState({ scratch, processor }: FeatureOptions, profile: string, deviceIds: readonly string[]): Promise<void> {
  const [emitted, ends] = [await scratch.connection.createAppender('emitted'), await scratch.connection.createAppender('ends')]
  for (const deviceId of deviceIds) {
    const features = processor.featuresOf(deviceId, profile)
    const throughMs = features?.emittedThroughMs ?? Number.POSITIVE_INFINITY
    emitted.appendVarchar(profile)
    emitted.appendVarchar(deviceId)
    emitted.appendBigInt(BigInt(Math.max(0, Math.min(throughMs, Number.MAX_SAFE_INTEGER))))
    emitted.endRow()
    for (const asOfMs of features?.recomputableEnds() ?? []) {
      ends.appendVarchar(profile)
      ends.appendVarchar(deviceId)
      ends.appendBigInt(BigInt(asOfMs))
      ends.endRow()
    }
  }
  emitted.closeSync()
  ends.closeSync()
}

/** Rows as of what a changed reading reaches, hour by hour, as far as rows are out (processor/outputs.ts: markRepair). */
async function mark({ scratch, changes }: FeatureOptions, { profile: { name: profile }, hopMs, reachMs }: Plan): Promise<void> {
  const hopEnd = (t: string) => `((${t} + ${hopMs - 1}) // ${hopMs}) * ${hopMs}`
  const stretches = `SELECT c.device_id, ${hopEnd('c.from_ms')} - ${hopMs} AS f, least(${hopEnd('c.through_ms')} + ${reachMs}, e.through_ms) AS th
    FROM changed AS c JOIN emitted AS e ON e.profile = c.profile AND e.device_id = c.device_id WHERE c.profile = ${quoteText(profile)}`
  const hours = `SELECT device_id, unnest(generate_series((f // ${HOUR_MS}) * ${HOUR_MS}, th, ${HOUR_MS})) AS h, f, th FROM (${stretches}) WHERE th > f`
  const marks = scratch.stream(`SELECT device_id, h, min(greatest(f, h - 1)), max(least(th, h + ${HOUR_MS - 1})) FROM (${hours})
    WHERE least(th, h + ${HOUR_MS - 1}) > greatest(f, h - 1) GROUP BY device_id, h ORDER BY device_id, h`)
  for await (const [deviceId, hourMs, fromMs, throughMs] of marks)
    changes.addMark({ profile, deviceId: String(deviceId), hourMs: Number(hourMs), fromMs: Number(fromMs), throughMs: Number(throughMs) })
}

/** A row for each hop that had one and holds no reading any more: no reading, and nothing else known. */
async function emptyHops(options: FeatureOptions, plan: Plan): Promise<CatalogFile[]> {
  const { paths, scratch, atMs, name, number } = options
  const { hopMs } = plan
  const profile = plan.profile.name
  const hopEnd = (t: string) => `((${t} + ${hopMs - 1}) // ${hopMs}) * ${hopMs}`
  await scratch.connection.run(
    `CREATE OR REPLACE TABLE hops AS SELECT DISTINCT device_id, ${hopEnd('t')} AS as_of_ms FROM removed WHERE profile = ${quoteText(profile)}`
  )
  const [[first, last]] = await scratch.rows('SELECT min(as_of_ms), max(as_of_ms) FROM hops')
  if (first === null) return []
  const readings = scanOf(options, 'processed', profile, Number(first) - hopMs, Number(last), ['device_id', 'event_time'])
  const rows = scanOf(options, 'curated', profile, Number(first), Number(last), ['device_id', 'as_of', 'revision', 'event_count'])
  if (rows === null) return []
  const own = featuresLayout(plan).columns
  const known = `make_timestamptz(${atMs * 1000})`
  const head = [
    'device_id',
    'as_of',
    `${known} AS known_at`,
    `${known} AS computed_at`,
    '(revision + 1)::INTEGER AS revision',
    'false AS provisional'
  ]
  const rest = ['0::BIGINT AS event_count', '0::DOUBLE AS coverage', `${PROCESSOR_VERSION}::INTEGER AS processor_version`]
  const features = own.slice(FEATURE.features).map(column => `NULL::${column.type.toUpperCase()} AS ${quoteName(column.name)}`)
  const held =
    readings === null
      ? ''
      : `ANTI JOIN (SELECT device_id, ${hopEnd('epoch_ms(event_time)')} AS as_of_ms FROM (${readings})) USING (device_id, as_of_ms)`
  await scratch.connection.run(`CREATE OR REPLACE TABLE emptied AS SELECT ${[...head, ...rest, ...features].join(', ')} FROM
    (SELECT * FROM (SELECT *, epoch_ms(as_of) AS as_of_ms FROM (${rows})) SEMI JOIN (SELECT * FROM hops ${held}) USING (device_id, as_of_ms)
      QUALIFY row_number() OVER (PARTITION BY device_id, as_of ORDER BY revision DESC) = 1) WHERE event_count > 0`)
  const files: CatalogFile[] = []
  for (const [hour] of await scratch.rows(`SELECT DISTINCT (epoch_ms(as_of) // ${HOUR_MS}) * ${HOUR_MS} FROM emptied ORDER BY 1`)) {
    const hourMs = Number(hour)
    const path = reprocessedPath({ layer: 'curated', profile, hourMs }, { ...name, part: 1 }, number)
    const staged = mergingPath(paths, { path })
    const select = `SELECT * FROM emptied WHERE (epoch_ms(as_of) // ${HOUR_MS}) * ${HOUR_MS} = ${hourMs} ORDER BY device_id, as_of`
    const count = await scratch.copy(select, staged, [])
    files.push({ path, layer: 'curated', profile, hourMs, rows: count, bytes: statSync(staged).size, ...name, columns: columnsDigest(own) })
  }
  return files
}

/** What the processor lets out again of a row must be a later revision than what is out, and than what the repair lets out. */
async function keepRevisions(options: FeatureOptions, profile: string): Promise<void> {
  const { scratch, processor } = options
  const [[first, last]] = await scratch.rows(`SELECT min(as_of_ms), max(as_of_ms) FROM ends WHERE profile = ${quoteText(profile)}`)
  if (first === null) return
  const rows = scanOf(options, 'curated', profile, Number(first), Number(last), ['device_id', 'as_of', 'revision'])
  if (rows === null) return
  const latest = scratch.stream(`SELECT device_id, as_of_ms, max(revision) FROM (SELECT *, epoch_ms(as_of) AS as_of_ms FROM (${rows}))
    SEMI JOIN (SELECT device_id, as_of_ms FROM ends WHERE profile = ${quoteText(profile)}) USING (device_id, as_of_ms) GROUP BY 1, 2`)
  for await (const [deviceId, asOfMs, revision] of latest)
    processor.noteRevision(String(deviceId), profile, Number(asOfMs), Number(revision) + 1)
}

/** Columns of the rows of a layer in hours that touch [fromMs, throughMs], as the archive will be; null where there are none. */
function scanOf(
  { files, place }: FeatureOptions,
  layer: 'processed' | 'curated',
  profile: string,
  fromMs: number,
  throughMs: number,
  columns: readonly string[]
): string | null {
  const meant = files.filter(
    file => file.layer === layer && file.profile === profile && file.hourMs > fromMs - HOUR_MS && file.hourMs <= throughMs
  )
  if (meant.length === 0) return null
  const list = meant.map(file => quoteText(join(place(file)))).join(', ')
  return `SELECT ${columns.join(', ')} FROM read_parquet([${list}], hive_partitioning = false, union_by_name = true)`
}

export function plansOf(profiles: Iterable<Parameters<typeof planFeatures>[0]>): Map<string, Plan> {
  return new Map(Array.from(profiles, profile => [profile.name, planFeatures(profile)]))
}
