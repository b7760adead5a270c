/**
 * What became, in a replay, of the messages that were requeued when the log was first processed. A requeue frame names the readings that
 * were quarantined then; judged anew they may be archived already, and given again they would be archived twice. So a frame is cut down
 * to the readings that the replay has quarantined and not resolved. Memory grows with the number of requeued messages.
 */
import type { FileRows, Flush } from '../processor/flush.js'
import { QUARANTINE, RESOLVED } from '../processor/layouts.js'
import { decodeRequeue, encodeRequeue, type RequeueHead } from '../processor/requeue.js'

type Identity = number | string

interface Fate {
  /** Quarantined and not resolved: counted by the ledger, and not. */
  readonly accounted: Set<Identity>
  readonly unaccounted: Set<Identity>
  readonly resolved: Set<Identity>
  /** Whether the message was rejected as a whole; whether that was resolved. */
  whole: boolean
  wholeResolved: boolean
}

export class RequeueFates {
  private readonly fates = new Map<string, Fate>()

  /** What lies at or before `sinceEntry` was not judged anew. */
  constructor(private readonly sinceEntry: number) {}

  /** Names a message whose fate will be asked for: before the replay begins. */
  expect({ entry, frameIndex }: Pick<RequeueHead, 'entry' | 'frameIndex'>): void {
    this.fates.set(`${entry}/${frameIndex}`, {
      accounted: new Set(),
      unaccounted: new Set(),
      resolved: new Set(),
      whole: false,
      wholeResolved: false
    })
  }

  /** Takes in the rows of a flush of the replay. */
  note({ files, strings }: Pick<Flush, 'files' | 'strings'>): void {
    if (this.fates.size === 0) return
    for (const rows of files.filter(({ layer }) => layer === 'quarantine')) {
      this.each(rows, strings, QUARANTINE, (fate, identity, row) => {
        if (identity === null) fate.whole = true
        else (numbers(rows, QUARANTINE.accounted)[row] === 1 ? fate.accounted : fate.unaccounted).add(identity)
      })
    }
    for (const rows of files.filter(({ layer }) => layer === 'resolved')) {
      this.each(rows, strings, RESOLVED, (fate, identity) => {
        if (identity === null) fate.wholeResolved = true
        else for (const set of [fate.accounted, fate.unaccounted]) set.delete(identity)
        if (identity !== null) fate.resolved.add(identity)
      })
    }
  }

  /** A requeue frame's payload, cut down. */
  requeue(payload: Uint8Array): Uint8Array {
    const requeue = decodeRequeue(payload)
    const fate = this.fates.get(`${requeue.entry}/${requeue.frameIndex}`)
    if (fate === undefined) throw new Error(`a requeue of ${requeue.entry}/${requeue.frameIndex} was not expected`)
    if (requeue.entry <= this.sinceEntry) {
      const isOpen = (identity: Identity) => !fate.resolved.has(identity)
      const [accounted, unaccounted] = [requeue.accounted.filter(isOpen), requeue.unaccounted.filter(isOpen)]
      return encodeRequeue({ ...requeue, accounted, unaccounted, isWhole: requeue.isWhole && !fate.wholeResolved })
    }
    const named = [...requeue.accounted, ...requeue.unaccounted]
    return encodeRequeue({
      ...requeue,
      accounted: named.filter(identity => fate.accounted.has(identity)),
      unaccounted: named.filter(identity => fate.unaccounted.has(identity)),
      isWhole: requeue.isWhole && fate.whole && !fate.wholeResolved
    })
  }

  private each(
    rows: FileRows,
    strings: readonly string[],
    places: { readonly entry: number; readonly frameIndex: number; readonly seq: number; readonly eventId: number },
    use: (fate: Fate, identity: Identity | null, row: number) => void
  ): void {
    const [entries, frames, seqs] = [places.entry, places.frameIndex, places.seq].map(place => numbers(rows, place))
    const eventIds = numbers(rows, places.eventId)
    for (let row = 0; row < rows.rows; row++) {
      const fate = this.fates.get(`${entries[row]}/${frames[row]}`)
      if (fate === undefined) continue
      const identity = eventIds[row] >= 0 ? strings[eventIds[row]] : Number.isNaN(seqs[row]) ? null : seqs[row]
      use(fate, identity, row)
    }
  }
}

function numbers(rows: FileRows, place: number): Float64Array | Int32Array {
  const column = rows.columns[place]
  if (column.type === 'bytes') throw new Error(`${column.name} holds no numbers`)
  return column.values
}
