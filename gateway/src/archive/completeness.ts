/** What became of the readings of each hour of event time, and whether the hour is complete: read from the catalog, as of its last boundary. */
import { existsSync } from 'node:fs'
import { Catalog } from './catalog.js'
import type { HourCountRow, ProfileHour } from './fleet-catalog.js'
import { HourJudge, type JudgedHour, type Unseen } from './hour-state.js'
import { dataPaths, HOUR_MS } from './paths.js'
import { NoArchiveError } from './views.js'

export interface CompletenessHour extends JudgedHour, Omit<HourCountRow, 'profile'> {
  /** null: nothing of the hour has arrived, but seqs measured in it are unseen. '': readings that named no profile. */
  readonly profile: string | null
}

export interface CompletenessFilter {
  readonly hourMs: number | null
  /** Only this device is counted and waited for. */
  readonly deviceId: string | null
}

const NO_COUNTS = { received: 0, quarantined: 0, late: 0, duplicates: 0, shed: 0, devices: 0 }

/** By hour and profile. Throws a `NoArchiveError` where `dataDir` holds no archive, or does not know the device. */
export function readCompleteness(dataDir: string, { hourMs, deviceId }: CompletenessFilter): CompletenessHour[] {
  const path = dataPaths(dataDir).catalog
  if (!existsSync(path))
    throw new NoArchiveError(`${dataDir} is no data folder of a gateway (it holds no catalog.sqlite): give the right one with --data-dir`)
  const catalog = Catalog.openReadonly(path)
  try {
    return catalog.atOnce(() => {
      const { fleet } = catalog
      const isAsked = (each: { readonly deviceId: string }) => deviceId === null || each.deviceId === deviceId
      const devices = fleet.devices().filter(isAsked)
      if (deviceId !== null && devices.length === 0)
        throw new NoArchiveError(`there is no device ${deviceId}: it has sent nothing, or nothing of it is flushed yet`)
      const unseen = fleet.unseen().filter(isAsked)
      const judge = new HourJudge(devices, unseen)
      const waiting = new Map(fleet.waiting().map(each => [`${each.profile}/${each.hourMs}`, each.rows]))
      const judged = (row: HourCountRow | (ProfileHour & typeof NO_COUNTS), profile: string | null): CompletenessHour => {
        return { ...row, profile, ...judge.judge(row.hourMs, deviceId === null ? (waiting.get(`${row.profile}/${row.hourMs}`) ?? 0) : 0) }
      }
      const counted = fleet.hourCounts(hourMs, deviceId).map(row => judged(row, row.profile))
      const known = new Set(counted.map(row => row.hourMs))
      const silent = hoursOf(unseen)
        .filter(each => !known.has(each) && (hourMs === null || each === hourMs))
        .map(each => judged({ ...NO_COUNTS, profile: '', hourMs: each }, null))
      return [...counted, ...silent].sort((a, b) => a.hourMs - b.hourMs)
    })
  } finally {
    catalog.close()
  }
}

/** The hours that the spans touch, each once. */
function hoursOf(unseen: readonly Unseen[]): number[] {
  const hours = new Set<number>()
  for (const { fromMs, toMs } of unseen) {
    for (let hourMs = Math.floor(fromMs / HOUR_MS) * HOUR_MS; hourMs <= toMs; hourMs += HOUR_MS) hours.add(hourMs)
  }
  return [...hours]
}
