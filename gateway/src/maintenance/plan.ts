import type { CatalogFile } from '../archive/catalog.js'
import { isCompacted } from '../archive/paths.js'
import type { FileColumn } from '../processor/flush.js'

/**
 * Decides which files of an hour are merged. Pure.
 *
 * An hour that no compaction has touched is merged as a whole, in even shares of at most about the target. What comes later,
 * late readings, is merged by size tiers, each four times the one below: only with at least `minFiles` of its own tier is a file
 * merged again, so with four or more a row is rewritten about once a tier (six of them below half the default target), not with
 * each late reading. A file of half the target or more is never merged again.
 */

export interface MergePolicy {
  /** Fewest files that are worth a merge. At least 2. */
  readonly minFiles: number
  /** Bytes that a merged file should have. */
  readonly targetBytes: number
}

/** A file and how much it weighs against the target, in bytes. */
export interface Candidate {
  readonly file: CatalogFile
  readonly weightBytes: number
}

const TIER_FACTOR = 4
/** The lowest tier ends at four times this, in bytes: smaller files cost little to rewrite. */
const TIER_FLOOR_BYTES = 64 * 1024

/** The merges that an hour's files of one layer, profile and shape are worth, each of two files or more, oldest entries first. */
export function planMerges(candidates: readonly Candidate[], policy: MergePolicy): CatalogFile[][] {
  const open = candidates.filter(({ weightBytes }) => weightBytes < policy.targetBytes / 2).sort(byEntry)
  const isFresh = candidates.every(({ file }) => !isCompacted(file.path))
  const tiers = isFresh ? [open] : tiersOf(open)
  return tiers.filter(tier => tier.length >= policy.minFiles).flatMap(tier => evenShares(tier, policy.targetBytes))
}

/** The size tier of a file: 0 below 256 KiB, then one more for each factor of 4. */
export function tierOf(bytes: number): number {
  return Math.max(0, Math.floor(Math.log(Math.max(1, bytes) / TIER_FLOOR_BYTES) / Math.log(TIER_FACTOR)))
}

function tiersOf(candidates: readonly Candidate[]): Candidate[][] {
  const tiers: Candidate[][] = []
  for (const candidate of candidates) {
    const tier = tierOf(candidate.weightBytes)
    tiers[tier] ??= []
    tiers[tier].push(candidate)
  }
  return tiers.filter(tier => tier !== undefined)
}

/**
 * Neighbours together, so that the files of a merge cover few entries, and shares as equal as whole files allow, so that no small
 * rest remains.
 */
function evenShares(candidates: readonly Candidate[], targetBytes: number): CatalogFile[][] {
  const total = candidates.reduce((sum, { weightBytes }) => sum + weightBytes, 0)
  const count = Math.max(1, Math.ceil(total / targetBytes))
  const shares: CatalogFile[][] = Array.from({ length: count }, () => [])
  let before = 0
  for (const { file, weightBytes } of candidates) {
    const middle = before + weightBytes / 2
    shares[total === 0 ? 0 : Math.min(count - 1, Math.floor((middle / total) * count))].push(file)
    before += weightBytes
  }
  return shares.filter(files => files.length >= 2)
}

function byEntry(a: Candidate, b: Candidate): number {
  return a.file.firstEntry - b.file.firstEntry || (a.file.path < b.file.path ? -1 : 1)
}

/** A column as a file has it. */
export type Column = Pick<FileColumn, 'name' | 'type'>

/** Items by their key, in their order. */
export function groupBy<T>(items: readonly T[], keyOf: (item: T) => string): T[][] {
  const groups = new Map<string, T[]>()
  for (const item of items) {
    const group = groups.get(keyOf(item))
    if (group === undefined) groups.set(keyOf(item), [item])
    else group.push(item)
  }
  return [...groups.values()]
}

/**
 * Files that can be merged into one without changing a column's type: those whose columns of the same name have the same type.
 * `columnsOf` tells the columns of the files with a digest.
 */
export function groupByShape(files: readonly CatalogFile[], columnsOf: (digest: string) => readonly Column[]): CatalogFile[][] {
  const groups: { readonly types: Map<string, string>; readonly digests: Set<string> }[] = []
  for (const digest of new Set(files.map(file => file.columns))) {
    const columns = columnsOf(digest)
    const fits = ({ types }: { types: Map<string, string> }) => columns.every(({ name, type }) => (types.get(name) ?? type) === type)
    let group = groups.find(fits)
    if (group === undefined) {
      group = { types: new Map(), digests: new Set() }
      groups.push(group)
    }
    group.digests.add(digest)
    for (const { name, type } of columns) group.types.set(name, type)
  }
  return groups.map(({ digests }) => files.filter(file => digests.has(file.columns)))
}
