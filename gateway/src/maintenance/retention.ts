import type { CatalogFile } from '../archive/catalog.js'
import { HOUR_MS, partitionPath } from '../archive/paths.js'
import type { Layer } from '../processor/flush.js'

/** How long each layer is kept, in ms behind the end of an hour; 0: for ever. */
export type RetentionMs = Readonly<Record<Layer, number>>

/**
 * The hours that are older than their layer is kept, each with all its files, oldest first. Pure. The raw frames that the older
 * snapshot would replay stay, whatever their age: `neededAfterEntry` is the last entry that no kept snapshot needs.
 */
export function expiredHours(
  files: readonly CatalogFile[],
  retentionMs: RetentionMs,
  nowMs: number,
  neededAfterEntry: number
): CatalogFile[][] {
  const hours = new Map<string, CatalogFile[]>()
  for (const file of files) {
    const keptMs = retentionMs[file.layer]
    if (keptMs === 0 || file.hourMs + HOUR_MS + keptMs > nowMs) continue
    const folder = partitionPath(file)
    const hour = hours.get(folder)
    if (hour === undefined) hours.set(folder, [file])
    else hour.push(file)
  }
  return [...hours.values()]
    .filter(hour => hour[0].layer !== 'raw' || hour.every(file => file.lastEntry <= neededAfterEntry))
    .sort((a, b) => a[0].hourMs - b[0].hourMs)
}
