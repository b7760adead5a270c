/** `tidemark-gateway quarantine`: what was rejected and why, and giving it to the processor again. */
import type { DuckDBValue } from '@duckdb/node-api'
import { REJECT_REASONS, rfc3339Ms } from '@tidemark/protocol'
import type { Command } from 'commander'
import { type QuarantineFilter, selectQuarantined } from '../archive/quarantine.js'
import { isNumeric, toJson, toText } from '../archive/sql-values.js'
import { textTable } from '../archive/text-table.js'
import { NoArchiveError, rejected, unresolved, withViews } from '../archive/views.js'
import { ConfigError, loadConfig } from '../config.js'
import { type Requeued, requeue } from '../requeue-run.js'
import { requeueThrough } from './requeue-post.js'
import { findGateway } from './running-gateway.js'

interface FilterOptions {
  readonly dataDir: string
  readonly json?: boolean
  readonly reason?: string
  readonly device?: string
  readonly from?: string
  readonly to?: string
}

interface ShowOptions extends FilterOptions {
  readonly limit: string
}

interface RequeueOptions extends FilterOptions {
  readonly config?: string
}

/** Groups that people are shown; programs get all. */
const GROUPS_SHOWN_MAX = 50

/** Characters of a payload that people are shown; programs get all. */
const PAYLOAD_SHOWN = 60

const HELP = `
A reading that is rejected is kept in the quarantine with its reason and the bytes of its message. When its profile has become
known, or a range was corrected, requeue it: what is valid by then is archived, as a late reading, and leaves the quarantine.

Examples:
  $ tidemark-gateway quarantine list --data-dir ./data
  $ tidemark-gateway quarantine show --reason metric-out-of-range --device pump-7
  $ tidemark-gateway quarantine requeue --reason unknown-profile --config gateway.yaml
`

const REQUEUE_HELP = `
The messages are given to the gateway that runs over the data folder; where none runs, they are appended to its log, and its next
start judges them. Each reading that is valid then is archived once, and counted as archived; the others stay in the quarantine.
It is safe to kill and to run again, once what it did is written out (the next flush).
--config names the file with the profiles that are to judge; without it, those of the gateway do (of its last start).

Example:
  $ tidemark-gateway quarantine requeue --reason unknown-profile-version --config gateway.yaml --data-dir ./data
`

export function addQuarantineCommand(program: Command): void {
  const quarantine = program.command('quarantine').description('show what was rejected, and give it to the processor again')
  quarantine.addHelpText('after', HELP)
  withFilter(quarantine.command('list').description('rows by reason, profile and device'))
    .addHelpText('after', '\nIt works while the gateway runs, and shows the last flush.\n')
    .action((options: FilterOptions) => reported(() => list(options)))
  withFilter(quarantine.command('show').description('rows with what was wrong and the bytes of their messages, newest first'))
    .option('--limit <rows>', 'at most so many', '20')
    .addHelpText('after', '\nExample:\n  $ tidemark-gateway quarantine show --reason undecodable --json --limit 1\n')
    .action((options: ShowOptions) => reported(() => show(options)))
  withFilter(quarantine.command('requeue').description('give rejected readings to the processor again'))
    .option('-c, --config <file>', "the gateway's configuration, whose profiles are to judge")
    .addHelpText('after', REQUEUE_HELP)
    .action((options: RequeueOptions) => reported(() => runRequeue(options)))
}

function withFilter(command: Command): Command {
  return command
    .option('--data-dir <folder>', "the gateway's data folder", './data')
    .option('--reason <reason>', 'only what was rejected for this reason')
    .option('--device <id>', 'only of this device')
    .option('--from <time>', 'only what was taken in then or later: RFC 3339 with a zone, or Unix ms')
    .option('--to <time>', 'only what was taken in before')
    .option('--json', 'print JSON')
}

async function reported(run: () => Promise<void>): Promise<void> {
  try {
    await run()
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`)
    process.exitCode = error instanceof ConfigError || error instanceof NoArchiveError ? 2 : 1
  }
}

function filterOf({ reason, device, from, to }: FilterOptions): QuarantineFilter {
  if (reason !== undefined && !REJECT_REASONS.some(known => known === reason))
    throw new ConfigError(`--reason: "${reason}" is none; the reasons are ${REJECT_REASONS.join(', ')}`)
  return { reason, deviceId: device, fromMs: timeOf('--from', from), toMs: timeOf('--to', to) }
}

function timeOf(option: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined
  const timeMs = /^\d{1,15}$/.test(text) ? Number(text) : rfc3339Ms(text)
  if (timeMs === null) throw new ConfigError(`${option}: "${text}" is neither a time with a zone, like 2026-11-24T13:00:00Z, nor Unix ms`)
  return timeMs
}

async function list(options: FilterOptions): Promise<void> {
  const filter = filterOf(options)
  await withViews(options.dataDir, { ownFiles: false }, async (connection, state) => {
    const rows = unresolved(state, selectQuarantined(filter, `EXCLUDE (payload) FROM (${rejected(state)})`))
    const reader = await connection.runAndReadAll(`SELECT reason, profile, device_id AS device, count(*) AS rows,
      count(DISTINCT (entry, frame_index)) AS messages, min(ingest_time) AS first, max(ingest_time) AS last
      FROM (${rows}) GROUP BY ALL ORDER BY rows DESC, reason, profile, device`)
    print(options, reader, GROUPS_SHOWN_MAX, 'groups')
  })
}

async function show(options: ShowOptions): Promise<void> {
  const filter = filterOf(options)
  const limit = Number(options.limit)
  if (!Number.isSafeInteger(limit) || limit < 1) throw new ConfigError(`--limit: "${options.limit}" is no number of rows`)
  await withViews(options.dataDir, { ownFiles: false }, async (connection, state) => {
    const rows = unresolved(state, selectQuarantined(filter, `EXCLUDE (payload) FROM (${rejected(state)})`))
    const newest = `SELECT * FROM (${rows}) ORDER BY entry DESC, frame_index DESC, seq, event_id LIMIT ${limit}`
    const payload = options.json
      ? 'p.payload'
      : `CASE WHEN n.kind = 'json' THEN left(try(decode(p.payload)), ${PAYLOAD_SHOWN}) ELSE left(lower(hex(p.payload)), ${PAYLOAD_SHOWN}) END`
    const columns = options.json ? 'n.*' : 'n.ingest_time, n.device_id AS device, n.reason, n.detail, n.profile, n.epoch, n.seq, n.event_id'
    const reader = await connection.runAndReadAll(`SELECT ${columns}, ${payload} AS payload, octet_length(p.payload) AS payload_bytes
      FROM (${newest}) AS n LEFT JOIN (SELECT entry, frame_index, payload FROM (${rejected(state)}) WHERE payload IS NOT NULL) AS p
      ON p.entry = n.entry AND p.frame_index = n.frame_index ORDER BY n.entry DESC, n.frame_index DESC, n.seq, n.event_id`)
    print(options, reader, limit, 'rows')
  })
}

type Reader = Awaited<ReturnType<Parameters<Parameters<typeof withViews<void>>[2]>[0]['runAndReadAll']>>

function print({ json }: FilterOptions, reader: Reader, shownMax: number, what: string): void {
  const names = reader.deduplicatedColumnNames()
  const types = reader.columnTypes()
  const rows: readonly DuckDBValue[][] = reader.getRows()
  if (json) {
    const objects = rows.map(row => Object.fromEntries(names.map((name, k) => [name, toJson(row[k], types[k])])))
    process.stdout.write(`${JSON.stringify(objects)}\n`)
    return
  }
  process.stdout.write(
    textTable(
      names,
      rows.slice(0, shownMax).map(row => row.map(toText)),
      types.map(isNumeric)
    )
  )
  const more = rows.length > shownMax ? `, the first ${shownMax} shown (--json prints all)` : ''
  process.stdout.write(`(${rows.length} ${what}${more})\n`)
}

async function runRequeue(options: RequeueOptions): Promise<void> {
  const filter = filterOf(options)
  const config = options.config === undefined ? null : loadConfig(options.config, { dataDir: options.dataDir })
  const line = process.stderr.isTTY ? process.stderr : null
  const gateway = await findGateway(options.dataDir)
  const onProgress = ({ messages, readings }: Requeued) => {
    if (messages % 1000 === 0) line?.write(`\r${readings} readings of ${messages} messages`)
  }
  const done =
    gateway === null
      ? await requeue(options.dataDir, filter, config, onProgress)
      : await requeueThrough(gateway, options.dataDir, filter, config, onProgress)
  line?.write('\r\x1b[K')
  process.stdout.write(options.json ? `${JSON.stringify(done)}\n` : requeuedText(done, gateway !== null))
}

function requeuedText({ messages, readings, unnamed }: Requeued, isRunning: boolean): string {
  const left = unnamed === 0 ? '' : `${unnamed} rows name no event ID and cannot be given again\n`
  if (messages === 0) return `${left}nothing to requeue\n`
  const what = `${left}${readings} readings of ${messages} messages are in the log`
  if (isRunning) return `${what}, and the gateway has judged them; behind the next flush "quarantine list" shows what stays\n`
  return `${what}: start the gateway, which judges them; "quarantine list" shows what stays\n`
}
