import type { DuckDBConnection } from '@duckdb/node-api'
import type { Command } from 'commander'
import { textTable } from '../archive/text-table.js'
import { type ArchiveState, NoArchiveError, rejected, unresolved, withViews } from '../archive/views.js'

/**
 * `tidemark-gateway ledger`: promise 2, checked. Per device and epoch, highest sampled = archived + quarantined + shed +
 * buffered + missing, where archived and quarantined are counted in the Parquet files; what the processor believes of them is
 * not asked.
 */

export interface LedgerCounts {
  readonly sampled: number
  /** Rows in the archive, those that retention has deleted, and those that still wait in the log because their hour is small. */
  readonly archived: number
  readonly quarantined: number
  readonly shed: number
  readonly buffered: number
  readonly missing: number
  readonly duplicates: number
  readonly late: number
  /** Rows of the archive beyond one an event ID. */
  readonly doubled: number
}

export interface EpochBalance extends LedgerCounts {
  /** 0: readings with opaque event IDs, whose number is known only by what arrived. */
  readonly epoch: number
  readonly balanced: boolean
}

export interface DeviceBalance extends LedgerCounts {
  readonly deviceId: string
  readonly balanced: boolean
  readonly epochs: readonly EpochBalance[]
}

export interface Ledger {
  readonly total: LedgerCounts
  /** By device ID. */
  readonly devices: readonly DeviceBalance[]
  /** Every epoch balances; nothing is missing or doubled. */
  readonly ok: boolean
}

const COUNTS = ['sampled', 'archived', 'quarantined', 'shed', 'buffered', 'missing', 'duplicates', 'late', 'doubled'] as const

/** Reads the ledger of one state of the archive, also beside a gateway. Throws a `NoArchiveError` where `dataDir` is none. */
export function readLedger(dataDir: string): Promise<Ledger> {
  return withViews(dataDir, { ownFiles: false }, async (connection, state) => {
    const devices = balances(state, await countArchived(connection), await countQuarantined(connection, state))
    const total = sum(devices)
    return { total, devices, ok: total.missing === 0 && total.doubled === 0 && devices.every(device => device.balanced) }
  })
}

interface DeviceEpoch {
  readonly deviceId: string
  readonly epoch: number
}

interface Counted extends DeviceEpoch {
  readonly rows: number
  readonly doubled: number
}

async function countArchived(connection: DuckDBConnection): Promise<Counted[]> {
  const doubled = 'count(*) - CASE WHEN e = 0 THEN count(DISTINCT event_id) ELSE count(DISTINCT seq) END'
  const from = 'FROM (SELECT *, coalesce(epoch, 0) AS e FROM readings)'
  return await count(connection, `SELECT device_id, e, count(*), ${doubled} ${from} GROUP BY device_id, e`)
}

async function countQuarantined(connection: DuckDBConnection, state: ArchiveState): Promise<Counted[]> {
  // Not the view: that reads the payloads.
  const rows = unresolved(state, `SELECT * EXCLUDE (payload) FROM (${rejected(state)})`)
  const from = `FROM (${rows}) WHERE accounted AND device_id IS NOT NULL`
  return await count(connection, `SELECT device_id, coalesce(epoch, 0) AS e, count(*), 0 ${from} GROUP BY device_id, e`)
}

async function count(connection: DuckDBConnection, sql: string): Promise<Counted[]> {
  const reader = await connection.runAndReadAll(sql)
  return reader.getRows().map(([deviceId, epoch, rows, doubled]) => {
    return { deviceId: String(deviceId), epoch: Number(epoch), rows: Number(rows), doubled: Number(doubled) }
  })
}

function balances(state: ArchiveState, archived: readonly Counted[], quarantined: readonly Counted[]): DeviceBalance[] {
  const keyOf = (each: DeviceEpoch) => `${each.deviceId} ${each.epoch}`
  const archivedBy = new Map(archived.map(each => [keyOf(each), each]))
  const quarantinedBy = new Map(quarantined.map(each => [keyOf(each), each]))
  const expiredBy = new Map(state.expired.map(each => [keyOf(each), each]))
  const known = new Map(state.epochs.map(each => [keyOf(each), each]))
  const devices = new Map<string, EpochBalance[]>()
  for (const [key, { deviceId, epoch }] of new Map<string, DeviceEpoch>([...known, ...archivedBy, ...quarantinedBy, ...expiredBy])) {
    const ledger = known.get(key)
    const counts = {
      archived: (archivedBy.get(key)?.rows ?? 0) + (expiredBy.get(key)?.archived ?? 0) + (ledger?.waiting ?? 0),
      quarantined: (quarantinedBy.get(key)?.rows ?? 0) + (expiredBy.get(key)?.quarantined ?? 0),
      shed: ledger?.shed ?? 0,
      buffered: ledger?.buffered ?? 0,
      missing: ledger?.missing ?? 0,
      duplicates: ledger?.duplicates ?? 0,
      late: ledger?.late ?? 0,
      doubled: archivedBy.get(key)?.doubled ?? 0
    }
    const fates = counts.archived + counts.quarantined + counts.shed + counts.buffered + counts.missing
    const sampled = epoch === 0 ? fates : (ledger?.highestSampledSeq ?? 0)
    const epochs = devices.get(deviceId) ?? []
    epochs.push({ epoch, sampled, ...counts, balanced: sampled === fates })
    devices.set(deviceId, epochs)
  }
  return [...devices.entries()]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([deviceId, epochs]) => ({
      deviceId,
      ...sum(epochs),
      balanced: epochs.every(epoch => epoch.balanced),
      epochs: epochs.sort((a, b) => a.epoch - b.epoch)
    }))
}

function sum(parts: readonly LedgerCounts[]): LedgerCounts {
  const total = { sampled: 0, archived: 0, quarantined: 0, shed: 0, buffered: 0, missing: 0, duplicates: 0, late: 0, doubled: 0 }
  for (const part of parts) for (const name of COUNTS) total[name] += part[name]
  return total
}

/** Devices that people are shown; programs get all. */
const DEVICES_SHOWN_MAX = 20

/** The ledger as a table: the total, then devices, those first that do not balance or lack something. */
export function ledgerText(ledger: Ledger): string {
  const isWell = (device: DeviceBalance) => device.balanced && device.missing === 0 && device.doubled === 0
  const ordered = [...ledger.devices.filter(device => !isWell(device)), ...ledger.devices.filter(isWell)]
  const shown = ordered.slice(0, DEVICES_SHOWN_MAX)
  const row = (name: string, counts: LedgerCounts, balanced: boolean) => [
    name,
    ...COUNTS.map(count => String(counts[count])),
    balanced ? 'yes' : 'NO'
  ]
  const rows = [
    row(
      'total',
      ledger.total,
      ledger.devices.every(device => device.balanced)
    ),
    ...shown.map(device => row(device.deviceId, device, device.balanced))
  ]
  const table = textTable(['device', ...COUNTS, 'balanced'], rows, [false, ...COUNTS.map(() => true), false])
  const more = ordered.length > shown.length ? `(${shown.length} of ${ordered.length} devices; --json prints all)\n` : ''
  return `${table}${more}${verdict(ledger)}\n`
}

function verdict(ledger: Ledger): string {
  if (ledger.ok) return 'sampled = archived + quarantined + shed + buffered + missing, for every device and epoch'
  const unbalanced = ledger.devices.filter(device => !device.balanced).length
  const faults = [
    unbalanced > 0 ? `${unbalanced} of ${ledger.devices.length} devices do not balance` : '',
    ledger.total.missing > 0 ? `${ledger.total.missing} readings are missing` : '',
    ledger.total.doubled > 0 ? `${ledger.total.doubled} rows are doubled` : ''
  ]
  return faults.filter(fault => fault !== '').join('; ')
}

const HELP = `
For every device and epoch: sampled = archived + quarantined + shed + buffered + missing. Archived and quarantined are counted in
the Parquet files. It works while the gateway runs, and shows the last flush. Exit code 0: all balances, nothing is missing or
doubled; 1: something is not so; 2: it could not be read.

Example:
  $ tidemark-gateway ledger --data-dir ./data --device pump-7
`

export function addLedgerCommand(program: Command): void {
  program
    .command('ledger')
    .description('account for every reading that was sampled')
    .option('--data-dir <folder>', "the gateway's data folder", './data')
    .option('--device <id>', 'only this device')
    .option('--json', 'print everything as JSON')
    .addHelpText('after', HELP)
    .action(async (options: { dataDir: string; device?: string; json?: boolean }) => {
      try {
        const ledger = ofDevice(await readLedger(options.dataDir), options.device)
        process.stdout.write(options.json ? `${JSON.stringify(ledger)}\n` : ledgerText(ledger))
        process.exitCode = ledger.ok ? 0 : 1
      } catch (error) {
        process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`)
        process.exitCode = 2
      }
    })
}

/** The ledger of one device. Throws where the archive does not know it. */
function ofDevice(ledger: Ledger, deviceId: string | undefined): Ledger {
  if (deviceId === undefined) return ledger
  const device = ledger.devices.find(each => each.deviceId === deviceId)
  if (device === undefined)
    throw new NoArchiveError(`the archive knows no device ${deviceId}: it has none, or nothing of it is flushed yet`)
  return { total: sum([device]), devices: [device], ok: device.balanced && device.missing === 0 && device.doubled === 0 }
}
