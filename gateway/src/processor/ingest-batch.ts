/** Takes in a batch of an agent: accounts every reading by its event ID, then judges, archives or quarantines it. */
import { type Batch, type Column, decodeBatch, PRESENT, type Profile } from '@tidemark/protocol'
import type { Device } from './device.js'
import type { Epoch, Sight } from './epoch.js'
import { isPlausible } from './hour-counts.js'
import { READING } from './layouts.js'
import { archive, type Identity, type Message, quarantine } from './message.js'
import type { Rows } from './rows.js'
import type { Span, Surroundings } from './spans.js'
import type { KnownProfile, State } from './state.js'
import { type Judgement, judgeColumns, judgeEventTime } from './validate.js'

const NO_TIME = Number.NEGATIVE_INFINITY

export function ingestBatch(state: State, message: Message): void {
  const batch = readBatch(state, message)
  if (batch === null) {
    refuseMessage(state, message, { reason: 'undecodable', detail: 'no batch header' })
    return
  }
  const { header } = batch
  if (batch.reject === 'columns-damaged' && header.seqs.length === 0) {
    refuseMessage(state, message, { reason: 'columns-damaged', detail: 'a batch without readings' })
  }
  const device = state.touchDevice(message.deviceId)
  const epoch = device?.touchEpoch(header.epoch)
  if (!device || !epoch) {
    refuseReadings(state, message, batch, device ? 'epoch-retired' : 'device-limit')
    return
  }
  ingestReadings(state, message, batch, device, epoch, readings => {
    takeHeader(state, batch, device, epoch)
    readings.run()
  })
}

export function readBatch(state: State, message: Message): Batch | null {
  return decodeBatch(message.payload, state.findProfile)
}

/** Lets `ingest` take readings of the batch, and then does what follows from them. */
export function ingestReadings(
  state: State,
  message: Message,
  batch: Batch,
  device: Device,
  epoch: Epoch,
  ingest: (readings: BatchIngestion) => void
): void {
  const { archived } = epoch.counts
  const wasClosed = epoch.isClosed
  ingest(new BatchIngestion(state, message, batch, device, epoch))
  if (epoch.isClosed && (!wasClosed || epoch.counts.archived > archived)) state.closeHops(device)
  if (epoch.hasGap) state.withGap.add(device)
  state.noteChanged(device, epoch.epoch)
}

/** What the device says of its epoch, whatever the batch holds. Taken twice, it is as taken once. */
export function takeHeader(state: State, batch: Batch, device: Device, epoch: Epoch): void {
  const { header, tombstones, endOfStreamSeq } = batch
  const around = surroundingsOf(batch, state.ingestMs)
  const countShed = (seqs: number, span: Span) => state.fleet.hours.addShed(device.deviceId, header.profile, seqs, span)
  epoch.highestSampledSeq = Math.max(epoch.highestSampledSeq, header.highestSampledSeq)
  for (const tombstone of tombstones) {
    const before = epoch.counts.shed
    state.raiseWatermark(device, epoch.bury(tombstone, around, countShed))
    state.counters.shed += epoch.counts.shed - before
  }
  state.raiseWatermark(device, epoch.settleBelow(header.oldestHeldSeq, around))
  if (endOfStreamSeq !== null) epoch.endOfStreamSeq = Math.max(endOfStreamSeq, epoch.endOfStreamSeq ?? 0)
}

function surroundingsOf({ header, eventTimesMs }: Batch, ingestMs: number): Surroundings {
  const timeAbove = (seq: number) => {
    const i = header.seqs.findIndex((each, at) => each > seq && isPlausible(eventTimesMs?.[at] ?? Number.NaN, ingestMs))
    return i < 0 ? Number.NaN : eventTimesMs![i]
  }
  return { timeAbove, ingestMs }
}

function refuseMessage(state: State, message: Message, fault: Judgement): void {
  if (fault.reason === 'undecodable') state.counters.undecodable++
  quarantine(state, message, { ...fault, accounted: false, profile: null, eventTimeMs: Number.NaN, identity: null })
}

function refuseReadings(state: State, message: Message, batch: Batch, reason: 'epoch-retired' | 'device-limit'): void {
  const { seqs, epoch, profile } = batch.header
  for (const [i, seq] of seqs.entries()) {
    const eventTimeMs = batch.eventTimesMs?.[i] ?? Number.NaN
    quarantine(state, message, { reason, detail: '', accounted: false, profile, eventTimeMs, identity: { epoch, seq, eventId: null } })
  }
}

/** The readings of one batch; holds what they share. */
export class BatchIngestion {
  private readonly columns: Column[]
  private readonly known: KnownProfile | null
  /** One a reading; made when the first reading that is new needs it. */
  private judgements: (Judgement | null)[] | null = null
  private readonly values: Float64Array

  constructor(
    private readonly state: State,
    private readonly message: Message,
    private readonly batch: Batch,
    private readonly device: Device,
    private readonly epoch: Epoch
  ) {
    this.columns = [...batch.columns]
    const known = batch.reject === null ? state.profile(batch.header.profile, batch.header.profileVersion) : null
    this.known = typeof known === 'string' ? null : known
    this.values = new Float64Array(this.known?.plan.profile.metrics.length ?? 0)
  }

  run(): void {
    const { seqs } = this.batch.header
    for (let i = 0; i < seqs.length; i++) {
      const eventTimeMs = this.batch.eventTimesMs === null ? Number.NaN : this.batch.eventTimesMs[i]
      const sight = this.epoch.sight(seqs[i], eventTimeMs)
      if (sight === 'new') this.take(i, seqs[i], eventTimeMs)
      else this.turnAway(seqs[i], eventTimeMs, sight)
    }
  }

  /**
   * Judges readings of the batch again: those in `accounted`, whose fate is the quarantine so far, and those in `unaccounted` whose
   * event ID is new after all. Returns the seqs that now have another fate; the others stay as they were. `sinceMs` is the ingest time
   * at which they were quarantined.
   */
  runAgain(accounted: ReadonlySet<unknown>, unaccounted: ReadonlySet<unknown>, sinceMs: number): number[] {
    const resolved: number[] = []
    for (const [i, seq] of this.batch.header.seqs.entries()) {
      const eventTimeMs = this.batch.eventTimesMs?.[i] ?? Number.NaN
      if (accounted.has(seq)) {
        if (!this.reinstate(i, seq, eventTimeMs)) continue
      } else if (unaccounted.has(seq) && this.epoch.sight(seq, eventTimeMs) === 'new') this.take(i, seq, eventTimeMs)
      else continue
      resolved.push(seq)
      this.state.fleet.hours.withdraw(this.device.deviceId, this.batch.header.profile, eventTimeMs, sinceMs)
    }
    return resolved
  }

  private turnAway(seq: number, eventTimeMs: number, sight: Exclude<Sight, 'new'>): void {
    if (sight === 'duplicate') {
      this.epoch.counts.duplicates++
      this.state.counters.duplicates++
      this.state.fleet.hours.addOf('duplicates', this.device, this.batch.header.profile, eventTimeMs, this.state.ingestMs)
      return
    }
    if (sight === 'reused') this.state.notice(this.device, this.epoch)
    const reason = sight === 'reused' ? 'event-id-reused' : sight === 'fragmented' ? 'event-id-fragmented' : 'shed'
    this.reject(seq, eventTimeMs, { reason, detail: '' }, false)
  }

  private take(i: number, seq: number, eventTimeMs: number): void {
    const { state, device, epoch } = this
    const timeFault = Number.isNaN(eventTimeMs) ? null : judgeEventTime(eventTimeMs, state.ingestMs)
    const fault = this.faultOf(i, timeFault)
    const late = eventTimeMs < device.watermarkMs
    const movesWatermark = timeFault === null && !Number.isNaN(eventTimeMs)
    if (!movesWatermark && !Number.isNaN(eventTimeMs)) epoch.noteEventTime(eventTimeMs)
    const settledMs = epoch.see(seq, movesWatermark ? eventTimeMs : NO_TIME, state.uptimeMs)
    if (fault !== null) {
      this.reject(seq, eventTimeMs, fault, true)
      epoch.counts.quarantined++
    } else {
      this.archive(i, seq, eventTimeMs, late, settledMs >= eventTimeMs)
      epoch.counts.archived++
      if (late) epoch.counts.late++
    }
    state.raiseWatermark(device, settledMs)
  }

  /** Archives a quarantined reading where it is valid by now. Returns whether it is. */
  private reinstate(i: number, seq: number, eventTimeMs: number): boolean {
    const { state, device, epoch } = this
    if (!epoch.hasSeen(seq)) return false
    if (this.faultOf(i, Number.isNaN(eventTimeMs) ? null : judgeEventTime(eventTimeMs, state.ingestMs)) !== null) return false
    const late = eventTimeMs < device.watermarkMs
    this.archive(i, seq, eventTimeMs, late, false)
    epoch.counts.quarantined--
    epoch.counts.archived++
    if (late) epoch.counts.late++
    state.raiseWatermark(device, epoch.reinstate(seq, eventTimeMs))
    return true
  }

  private faultOf(i: number, timeFault: Judgement | null): Judgement | null {
    const { batch, known } = this
    if (batch.reject !== null || known === null)
      return { reason: batch.reject ?? 'unknown-profile', detail: `${batch.header.profile} ${batch.header.profileVersion}` }
    if (timeFault !== null) return timeFault
    this.judgements ??= judgeColumns(known.plan.profile, this.columns, batch.header.seqs.length)
    return this.judgements[i] ?? this.extraFault(i, known.plan.profile)
  }

  private extraFault(i: number, profile: Profile): Judgement | null {
    for (const { name, values } of this.batch.extra) {
      if (values[i] === null) continue
      this.state.countUnknownField(profile.name, name)
      if (profile.evolution === 'strict') return { reason: 'unknown-metric', detail: name }
    }
    return null
  }

  private archive(i: number, seq: number, eventTimeMs: number, late: boolean, isSettled: boolean): void {
    const { state, device, batch, columns, values } = this
    const known = this.known!
    const identity: Identity = { epoch: batch.header.epoch, seq, eventId: null }
    archive(state, device, known, { eventTimeMs, identity, late, clock: batch.clock, extra: this.extraOf(i) }, rows =>
      putMetrics(rows, columns, i, values)
    )
    state.addToFeatures(device, known.plan, { timeMs: eventTimeMs, epoch: batch.header.epoch, seq }, values, isSettled)
  }

  private extraOf(i: number): string | null {
    const entries = this.batch.extra.filter(({ values }) => values[i] !== null).map(({ name, values }) => [name, values[i]] as const)
    return entries.length === 0 ? null : JSON.stringify(Object.fromEntries(entries))
  }

  private reject(seq: number, eventTimeMs: number, { reason, detail }: Judgement, accounted: boolean): void {
    const { profile, epoch } = this.batch.header
    quarantine(this.state, this.message, { reason, detail, accounted, profile, eventTimeMs, identity: { epoch, seq, eventId: null } })
  }
}

/** Writes the metrics of reading `i` into the row, and the numbers among them into `values` for the features. */
export function putMetrics(rows: Rows, columns: readonly Column[], i: number, values: Float64Array): void {
  for (let m = 0; m < columns.length; m++) {
    const column = columns[m]
    values[m] = Number.NaN
    if (column.state !== null && column.state[i] !== PRESENT) continue
    if (column.kind === 'string') rows.putString(READING.metrics + m, column.values[i])
    else {
      rows.putNumber(READING.metrics + m, column.values[i])
      values[m] = column.values[i]
    }
  }
}
