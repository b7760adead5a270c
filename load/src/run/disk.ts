/** What a gateway's data folder takes on the disk. */
import { existsSync, readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'

export interface DiskBytes {
  readonly processed: number
  readonly curated: number
  readonly raw: number
  readonly quarantine: number
  readonly log: number
  readonly snapshots: number
}

export function diskBytes(dataDir: string): DiskBytes {
  const layer = (name: string) => bytesBelow(join(dataDir, 'archive', name))
  const file = (name: string) => (existsSync(join(dataDir, name)) ? statSync(join(dataDir, name)).size : 0)
  return {
    processed: layer('processed'),
    curated: layer('curated'),
    raw: layer('raw'),
    quarantine: layer('quarantine'),
    log: file('log.sqlite') + file('log.sqlite-wal'),
    snapshots: bytesBelow(join(dataDir, 'snapshots'))
  }
}

export function bytesBelow(folder: string): number {
  if (!existsSync(folder)) return 0
  let bytes = 0
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    if (entry.isFile()) bytes += statSync(join(entry.parentPath ?? entry.path, entry.name)).size
  }
  return bytes
}
