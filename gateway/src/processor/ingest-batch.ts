/** Takes in a batch of an agent: accounts every reading by its event ID, then judges, archives or quarantines it. */
import { type Batch, type Column, decodeBatch, PRESENT, type Profile } from '@tidemark/protocol'
import type { Device } from './device.js'
import type { Epoch, Sight } from './epoch.js'
import { READING } from './layouts.js'
import { archive, type Identity, type Message, quarantine } from './message.js'
import type { Rows } from './rows.js'
import type { KnownProfile, State } from './state.js'
import { type Judgement, judgeColumns, judgeEventTime } from './validate.js'

const NO_TIME = Number.NEGATIVE_INFINITY

export function ingestBatch(state: State, message: Message): void {
  const batch = decodeBatch(message.payload, state.findProfile)
  if (batch === null) {
    refuseMessage(state, message)
    return
  }
  const { header } = batch
  const device = state.touchDevice(message.deviceId)
  const epoch = device?.touchEpoch(header.epoch)
  if (!device || !epoch) {
    refuseReadings(state, message, batch, device ? 'epoch-retired' : 'device-limit')
    return
  }
  const { archived } = epoch.counts
  const wasClosed = epoch.isClosed
  epoch.highestSampledSeq = Math.max(epoch.highestSampledSeq, header.highestSampledSeq)
  for (const tombstone of batch.tombstones) {
    const before = epoch.counts.shed
    state.raiseWatermark(device, epoch.bury(tombstone))
    state.counters.shed += epoch.counts.shed - before
  }
  state.raiseWatermark(device, epoch.settleBelow(header.oldestHeldSeq))
  new BatchIngestion(state, message, batch, device, epoch).run()
  if (batch.endOfStreamSeq !== null) epoch.endOfStreamSeq = Math.max(batch.endOfStreamSeq, epoch.endOfStreamSeq ?? 0)
  if (epoch.isClosed && (!wasClosed || epoch.counts.archived > archived)) state.closeHops(device)
  if (epoch.hasGap) state.withGap.add(device)
  state.noteChanged(device, header.epoch)
}

function refuseMessage(state: State, message: Message): void {
  state.counters.undecodable++
  quarantine(state, message, {
    reason: 'undecodable',
    detail: 'no batch header',
    accounted: false,
    profile: null,
    eventTimeMs: Number.NaN,
    identity: null
  })
}

function refuseReadings(state: State, message: Message, batch: Batch, reason: 'epoch-retired' | 'device-limit'): void {
  const { seqs, epoch, profile } = batch.header
  for (const [i, seq] of seqs.entries()) {
    const eventTimeMs = batch.eventTimesMs?.[i] ?? Number.NaN
    quarantine(state, message, { reason, detail: '', accounted: false, profile, eventTimeMs, identity: { epoch, seq, eventId: null } })
  }
}

/** The readings of one batch; holds what they share. */
class BatchIngestion {
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

  private turnAway(seq: number, eventTimeMs: number, sight: Exclude<Sight, 'new'>): void {
    if (sight === 'duplicate') {
      this.epoch.counts.duplicates++
      this.state.counters.duplicates++
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
    if (fault !== null) {
      this.reject(seq, eventTimeMs, fault, true)
      epoch.counts.quarantined++
    } else {
      this.archive(i, seq, eventTimeMs, late)
      epoch.counts.archived++
      if (late) epoch.counts.late++
    }
    const movesWatermark = timeFault === null && !Number.isNaN(eventTimeMs)
    if (!movesWatermark && !Number.isNaN(eventTimeMs)) epoch.noteEventTime(eventTimeMs)
    state.raiseWatermark(device, epoch.see(seq, movesWatermark ? eventTimeMs : NO_TIME, state.uptimeMs))
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

  private archive(i: number, seq: number, eventTimeMs: number, late: boolean): void {
    const { state, device, batch, columns, values } = this
    const known = this.known!
    const identity: Identity = { epoch: batch.header.epoch, seq, eventId: null }
    archive(state, device, known, { eventTimeMs, identity, late, clock: batch.clock, extra: this.extraOf(i) }, rows =>
      putMetrics(rows, columns, i, values)
    )
    state.addToFeatures(device, known.plan, { timeMs: eventTimeMs, epoch: batch.header.epoch, seq }, values)
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
