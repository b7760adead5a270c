/** What `tidemark-gateway quarantine requeue` reads of an archive, read from the flushes of a timeline. */
import { type QuarantinedMessage, requeueOf } from '../../gateway/src/archive/quarantine.js'
import type { Flush } from '../../gateway/src/processor/flush.js'
import { encodeRequeue } from '../../gateway/src/processor/requeue.js'
import { type Row, rowsOf } from './flush-rows.js'
import type { FrameSpec } from './timeline.js'

/** Rows of the quarantine that no later row resolves. */
export function unresolvedRows(flushes: readonly Flush[]): Row[] {
  const resolved = new Set(rowsOf(flushes, 'resolved').map(identityOf))
  return rowsOf(flushes, 'quarantine').filter(row => !resolved.has(identityOf(row)))
}

function identityOf(row: Row): string {
  return JSON.stringify([row.entry, row.frame_index, row.epoch, row.seq, row.event_id])
}

/** The frames of one run that requeues what is unresolved in `committed`, as far as `isMeant`. */
export function requeueFrames(run: string, committed: readonly Flush[], isMeant: (row: Row) => boolean = () => true): FrameSpec[] {
  const payloads = new Map<string, Row>()
  for (const row of rowsOf(committed, 'quarantine')) if (row.payload !== null) payloads.set(offsetOf(row), row)
  const messages = new Map<string, Row[]>()
  for (const row of unresolvedRows(committed).filter(isMeant)) messages.set(offsetOf(row), [...(messages.get(offsetOf(row)) ?? []), row])
  const asOfEntry = committed.at(-1)?.lastEntry ?? 0
  return [...messages]
    .map(([offset, rows]) => messageOf(rows, payloads.get(offset)!.payload as Uint8Array))
    .sort((a, b) => a.entry - b.entry || a.frameIndex - b.frameIndex)
    .flatMap(message => {
      const requeue = requeueOf(message, { run, asOfEntry })
      return requeue === null ? [] : [{ kind: 'requeue' as const, device: message.deviceId, payload: encodeRequeue(requeue) }]
    })
}

function offsetOf({ entry, frame_index: frameIndex }: Row): string {
  return `${entry}/${frameIndex}`
}

function messageOf(rows: readonly Row[], payload: Uint8Array): QuarantinedMessage {
  const [first] = rows
  return {
    deviceId: first.device_id as string,
    entry: first.entry as number,
    frameIndex: first.frame_index as number,
    ingestMs: first.ingest_time as number,
    kind: first.kind as 'batch' | 'json',
    payload,
    readings: rows.map(row => ({
      seq: row.seq as number | null,
      eventId: row.event_id as string | null,
      accounted: row.accounted === true,
      reason: row.reason as string,
      detail: row.detail as string | null,
      profile: row.profile as string | null
    }))
  }
}
