/** What the checks look at: the archive's rows as a reader finds them, the whole log, and the truth. */
import type { LogEntry } from '@tidemark/gateway/dist/log/schema.js'
import type { EpochLedger, RepairMark } from '@tidemark/gateway/dist/processor/flush.js'
import type { ArchivedFile } from '../archive.js'
import type { Violation } from '../plants.js'
import type { Row } from '../rows.js'
import type { Scenario } from '../scenario.js'
import type { Truth } from '../truth.js'
import type { World } from '../world.js'

export interface Evidence {
  readonly world: World
  readonly scenario: Scenario
  readonly truth: Truth
  readonly log: readonly LogEntry[]
  readonly durableMessages: ReadonlySet<number>
  /** By path. */
  readonly files: ReadonlyMap<string, ArchivedFile>
  readonly snapshots: ReadonlyMap<number, readonly Uint8Array[]>
  readonly epochs: readonly EpochLedger[]
  readonly repairs: readonly RepairMark[]
  readonly readings: readonly Row[]
  readonly features: readonly Row[]
  readonly quarantine: readonly Row[]
}

/** One check: names what it finds wrong. */
export type Check = (evidence: Evidence) => Iterable<Violation>

export function text(row: Row, column: string): string {
  return row[column] as string
}

/** NaN for null. */
export function number(row: Row, column: string): number {
  return (row[column] as number | null) ?? Number.NaN
}

export function groupBy<T>(items: Iterable<T>, keyOf: (item: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>()
  for (const item of items) {
    const group = groups.get(keyOf(item))
    if (group === undefined) groups.set(keyOf(item), [item])
    else group.push(item)
  }
  return groups
}
