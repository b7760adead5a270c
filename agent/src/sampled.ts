import type { Profile, Value } from '@tidemark/protocol'
import { joined, type ShedPositions } from './buffer-ledger.js'
import type { BufferState } from './buffer-schema.js'
import type { TailReading } from './memory-tail.js'
import { UNREADABLE } from './sources/source.js'

/** What one turn of a source gave, in its order; each entry takes the next seq. */
export interface Sampled {
  readonly profile: Profile
  readonly entries: readonly SampledEntry[]
  /** Where the source goes on after these; null where it has no position. */
  readonly source: { readonly key: string; readonly position: string } | null
  /** Values of the entries that could not be read and are null. */
  readonly nulledValues: number
  /** The event time to go on from, for live sources; null for others. */
  readonly eventTimeMs: number | null
}

export type SampledEntry = { readonly eventTimeMs: number; readonly values: readonly Value[] } | { readonly shed: string }

/** The entries with their positions, the first of which is `first`. */
export function placed({ entries, profile }: Sampled, first: number, sinceMs: number): { readings: TailReading[]; shed: ShedPositions[] } {
  const readings: TailReading[] = []
  const shed: ShedPositions[] = []
  for (const [i, entry] of entries.entries()) {
    const position = first + i
    if ('shed' in entry) shed.push({ first: position, last: position, reason: entry.shed })
    else readings.push({ position, eventTimeMs: entry.eventTimeMs, values: entry.values, profile, sinceMs })
  }
  return { readings, shed: joined(shed) }
}

/** What has changed of a buffer's state when it has taken this in. */
export function stateAfter(state: BufferState, { entries, nulledValues, eventTimeMs, source }: Sampled): Partial<BufferState> {
  const reasons = entries.flatMap(entry => ('shed' in entry ? [entry.shed] : []))
  const held = state.held + entries.length - reasons.length
  const nextPosition = state.nextPosition + entries.length
  return {
    nextPosition,
    held,
    settledPosition: held === 0 ? nextPosition - 1 : state.settledPosition,
    unreadableRows: state.unreadableRows + reasons.filter(reason => reason === UNREADABLE).length,
    nulledValues: state.nulledValues + nulledValues,
    ...(eventTimeMs === null ? {} : { eventTimeMs }),
    ...(source === null ? {} : { sourceKey: source.key, sourcePosition: source.position, sourceEnded: 0 })
  }
}
