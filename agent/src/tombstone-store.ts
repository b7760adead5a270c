import { TOMBSTONES_PER_BATCH_MAX, type Tombstone } from '@tidemark/protocol'
import { TOMBSTONE_COLUMNS, type TombstoneRow } from './buffer-schema.js'
import type { SeqRange } from './core/epochs.js'
import type { Database, Statement } from './sqlite.js'

/**
 * The tombstones that the gateway has not acked yet, in the buffer's file. Its writing methods run inside the buffer's commits.
 */

/** Reason of what a full buffer has thinned out. */
const THINNED = 'thinned'

/** A tombstone in a batch, with the row that it came from. */
export interface CarriedTombstone extends Tombstone {
  readonly id: number
}

export interface DueTombstones {
  readonly carried: readonly CarriedTombstone[]
  /** The first seq of the next one, which found no room; null where all are carried. */
  readonly nextSeq: number | null
}

export class TombstoneStore {
  private readonly selectUpTo: Statement<[number, number, number], TombstoneRow>
  private readonly selectEpoch: Statement<[], number>

  constructor(private readonly database: Database) {
    this.selectUpTo = database.prepare(
      `SELECT ${TOMBSTONE_COLUMNS} FROM tombstones WHERE epoch = ? AND first_seq <= ? ORDER BY first_seq LIMIT ?`
    )
    this.selectEpoch = database.prepare<[], number>('SELECT epoch FROM tombstones ORDER BY id LIMIT 1').pluck()
  }

  /** Those of an epoch that begin at or before `lastSeq`, as many as a batch carries, and the first seq of the one behind them. */
  upTo(epoch: number, lastSeq: number): DueTombstones {
    const rows = this.selectUpTo.all(epoch, lastSeq, TOMBSTONES_PER_BATCH_MAX + 1)
    const nextSeq = rows.length > TOMBSTONES_PER_BATCH_MAX ? rows[TOMBSTONES_PER_BATCH_MAX].firstSeq : null
    return { carried: rows.slice(0, TOMBSTONES_PER_BATCH_MAX), nextSeq }
  }

  /** The epoch of some tombstone; null where there is none. */
  someEpoch(): number | null {
    return this.selectEpoch.get() ?? null
  }

  insert(range: SeqRange, reason: string, keepEvery = 0): void {
    this.database
      .prepare('INSERT INTO tombstones (epoch, first_seq, last_seq, keep_every, reason) VALUES (?, ?, ?, ?, ?)')
      .run(range.epoch, range.firstSeq, range.lastSeq, keepEvery, reason)
  }

  /** Adds ranges of shed seqs; one that continues a tombstone of its kind makes that longer. */
  extend(ranges: readonly SeqRange[], reason: string, keepEvery = 0): void {
    for (const range of ranges) {
      const longer = this.database
        .prepare('UPDATE tombstones SET last_seq = ? WHERE epoch = ? AND last_seq = ? AND keep_every = ? AND reason = ?')
        .run(range.lastSeq, range.epoch, range.firstSeq - 1, keepEvery, reason)
      if (longer.changes === 0) this.insert(range, reason, keepEvery)
    }
  }

  /** Adds a range of which only every n-th seq is kept, in place of those tombstones of earlier thinnings that it says all of. */
  thin(range: SeqRange, keepEvery: number): void {
    this.database
      .prepare(
        `DELETE FROM tombstones WHERE epoch = ? AND reason = '${THINNED}' AND first_seq >= ? AND last_seq <= ?
         AND (? = 0 OR (keep_every > 0 AND ? % keep_every = 0))`
      )
      .run(range.epoch, range.firstSeq, range.lastSeq, keepEvery, keepEvery)
    this.extend([range], THINNED, keepEvery)
  }

  /** Removes what the gateway has acked. One that has grown since it was carried keeps the rest. */
  remove(declared: readonly CarriedTombstone[]): void {
    for (const { id, lastSeq } of declared) {
      this.database.prepare('DELETE FROM tombstones WHERE id = ? AND last_seq <= ?').run(id, lastSeq)
      this.database.prepare('UPDATE tombstones SET first_seq = ? WHERE id = ? AND first_seq <= ?').run(lastSeq + 1, id, lastSeq)
    }
  }

  /** Moves what lies behind a seq to another epoch, whose seqs begin there. */
  renumber(epoch: number, newEpoch: number, cutSeq: number): void {
    this.database
      .prepare(
        `INSERT INTO tombstones (epoch, first_seq, last_seq, keep_every, reason)
         SELECT ?, 1, last_seq - ?, keep_every, reason FROM tombstones WHERE epoch = ? AND first_seq <= ? AND last_seq > ?`
      )
      .run(newEpoch, cutSeq, epoch, cutSeq, cutSeq)
    this.database
      .prepare('UPDATE tombstones SET last_seq = ? WHERE epoch = ? AND first_seq <= ? AND last_seq > ?')
      .run(cutSeq, epoch, cutSeq, cutSeq)
    this.database
      .prepare('UPDATE tombstones SET epoch = ?, first_seq = first_seq - ?, last_seq = last_seq - ? WHERE epoch = ? AND first_seq > ?')
      .run(newEpoch, cutSeq, cutSeq, epoch, cutSeq)
  }
}
