/**
 * Which feature row a label may be joined with: DESIGN section 6, word for word, as a reference. A row is available at the later
 * of known_at and as_of. Slow, and beyond doubt.
 */
import type { Row } from './rows.js'

/** What a join needs of a feature row. */
export interface FeatureVersion {
  readonly row: Row
  readonly asOfMs: number
  readonly revision: number
  readonly knownAtMs: number
}

export type Join = (ofDevice: readonly FeatureVersion[], labelMs: number) => FeatureVersion | null

/**
 * In the order of availability, only rows whose (as_of, revision) is a running maximum, one per availability; of those, the last
 * that was available at the label's time.
 */
export const joinByAvailability: Join = (ofDevice, labelMs) => {
  const inOrder = [...ofDevice].sort((a, b) => availableMs(a) - availableMs(b) || a.asOfMs - b.asOfMs || a.revision - b.revision)
  let joined: FeatureVersion | null = null
  for (const each of inOrder) {
    if (availableMs(each) > labelMs) break
    if (joined === null || isBehind(each, joined)) joined = each
  }
  return joined
}

/** The definition: of what was available, the latest as_of, then the latest revision. */
export const latestAvailable: Join = (ofDevice, labelMs) => {
  let latest: FeatureVersion | null = null
  for (const each of ofDevice) {
    if (each.knownAtMs > labelMs || each.asOfMs > labelMs) continue
    if (latest === null || isBehind(each, latest)) latest = each
  }
  return latest
}

/** The planted leak: the window's end decides, and the latest revision is taken, whenever it was known. */
export const joinByAsOf: Join = (ofDevice, labelMs) =>
  latestAvailable(
    ofDevice.map(each => ({ ...each, knownAtMs: each.asOfMs })),
    labelMs
  )

/** The planted mistake of a plain ASOF join on known_at: a correction of an old row passes for the latest row. */
export const joinByKnownAt: Join = (ofDevice, labelMs) => {
  const known = ofDevice.filter(({ knownAtMs }) => knownAtMs <= labelMs).sort((a, b) => a.knownAtMs - b.knownAtMs)
  return known.at(-1) ?? null
}

function availableMs({ knownAtMs, asOfMs }: FeatureVersion): number {
  return Math.max(knownAtMs, asOfMs)
}

function isBehind(a: FeatureVersion, b: FeatureVersion): boolean {
  return a.asOfMs !== b.asOfMs ? a.asOfMs > b.asOfMs : a.revision > b.revision
}
