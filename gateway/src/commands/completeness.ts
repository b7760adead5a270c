/** `tidemark-gateway completeness`: per hour of event time what became of the readings, and whether the hour is complete. */
import type { Command } from 'commander'
import { type CompletenessHour, readCompleteness } from '../archive/completeness.js'
import { NAMED_MAX, type Unseen } from '../archive/hour-state.js'
import { textTable } from '../archive/text-table.js'
import { ConfigError } from '../config.js'

interface CompletenessOptions {
  readonly dataDir: string
  readonly hour?: string
  readonly device?: string
  readonly json?: boolean
}

const HELP = `
complete: every device that is not retired is past the hour, none of their readings measured in it is missing or still held back, and
every row is in a file. settled: the same, but silent devices are not past it. open: all else, and why. With --device only that device
is counted and waited for. It works while the gateway runs, and shows the last flush. Times are UTC.

Examples:
  $ tidemark-gateway completeness --data-dir ./data
  $ tidemark-gateway completeness --hour 2026-11-24T13 --json
  $ tidemark-gateway completeness --device pump-7
`

export function addCompletenessCommand(program: Command): void {
  program
    .command('completeness')
    .description('what became of the readings of each hour, and which hours are complete')
    .option('--data-dir <folder>', "the gateway's data folder", './data')
    .option('--hour <hour>', 'only this hour of event time, like 2026-11-24T13 (UTC)')
    .option('--device <id>', 'only this device')
    .option('--json', 'print a JSON array')
    .addHelpText('after', HELP)
    .action(({ dataDir, hour, device, json }: CompletenessOptions) => {
      const hourMs = hour === undefined ? null : parseHour(hour)
      try {
        const hours = readCompleteness(dataDir, { hourMs, deviceId: device ?? null })
        process.stdout.write(json ? `${JSON.stringify(hours.map(hourJson))}\n` : completenessText(hours))
      } catch (error) {
        process.stderr.write(`tidemark-gateway: ${error instanceof Error ? error.message : String(error)}\n`)
        process.exitCode = 2
      }
    })
}

function parseHour(text: string): number {
  const ms = /^\d{4}-\d\d-\d\dT\d\d$/.test(text) ? Date.parse(`${text}:00:00Z`) : Number.NaN
  if (Number.isNaN(ms)) throw new ConfigError(`--hour: "${text}" is no hour like 2026-11-24T13`)
  return ms
}

function hourJson(hour: CompletenessHour): object {
  return {
    hour: new Date(hour.hourMs).toISOString(),
    profile: hour.profile,
    state: hour.state,
    received: hour.received,
    duplicates: hour.duplicates,
    quarantined: hour.quarantined,
    shed: hour.shed,
    late: hour.late,
    missing: hour.unseen.filter(({ held }) => !held).map(rangeJson),
    held: hour.unseen.filter(({ held }) => held).map(rangeJson),
    devices: hour.devices,
    waiting: hour.waiting,
    behind: { devices: hour.behind, first: hour.behindDevices },
    silent: { devices: hour.silent, first: hour.silentDevices },
    why: whyOf(hour)
  }
}

function rangeJson({ deviceId, epoch, firstSeq, lastSeq, seqs, fromMs, toMs }: Unseen): object {
  const between = { from: new Date(fromMs).toISOString(), to: new Date(toMs).toISOString() }
  return { device_id: deviceId, epoch, first_seq: firstSeq, last_seq: lastSeq, seqs, ...between }
}

const HEADER = ['hour', 'profile', 'received', 'duplicate', 'quarantined', 'shed', 'late', 'missing', 'state', 'why']
const IS_NUMBER = HEADER.map((_, i) => i >= 2 && i <= 7)

function completenessText(hours: readonly CompletenessHour[]): string {
  const rows = hours.map(hour => [
    new Date(hour.hourMs).toISOString().slice(0, 13),
    hour.profile ?? '',
    ...[hour.received, hour.duplicates, hour.quarantined, hour.shed, hour.late].map(String),
    String(hour.unseen.reduce((sum, { held, seqs }) => sum + (held ? 0 : seqs), 0)),
    hour.state,
    whyOf(hour)
  ])
  const complete = hours.filter(({ state }) => state === 'complete').length
  return `${textTable(HEADER, rows, IS_NUMBER)}(${hours.length} ${hours.length === 1 ? 'row' : 'rows'}, ${complete} complete)\n`
}

/** What keeps the hour from being complete; empty where it is. */
function whyOf(hour: CompletenessHour): string {
  const missing = hour.unseen.filter(({ held }) => !held)
  const held = hour.unseen.filter(each => each.held)
  return [
    hour.behind > 0 ? `not past it: ${named(hour.behindDevices, hour.behind)}` : '',
    missing.length > 0 ? `missing: ${namedRanges(missing)}` : '',
    held.length > 0 ? `still held: ${namedRanges(held)}` : '',
    hour.waiting > 0 ? `${hour.waiting} rows wait in the log for a file` : '',
    hour.silent > 0 ? `silent: ${named(hour.silentDevices, hour.silent)}` : ''
  ]
    .filter(reason => reason !== '')
    .join('; ')
}

function namedRanges(ranges: readonly Unseen[]): string {
  const names = ranges.slice(0, NAMED_MAX).map(({ deviceId, firstSeq, lastSeq }) => {
    return `${deviceId} ${firstSeq === lastSeq ? `seq ${firstSeq}` : `seqs ${firstSeq}-${lastSeq}`}`
  })
  return named(names, ranges.length)
}

function named(names: readonly string[], all: number): string {
  return `${names.join(', ')}${all > names.length ? ` and ${all - names.length} more` : ''}`
}
