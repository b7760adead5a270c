/** Promises 1 to 3: acked means durable, exactly once, nothing is silently dropped. */
import { decodeBatch, decodeJson } from '@tidemark/protocol'
import type { Row } from '../rows.js'
import { PROBE } from '../scenario.js'
import type { SampledReading } from '../truth.js'
import { type Check, type Evidence, groupBy, number, text } from './evidence.js'

/** What was acked is in the log, now or before it was cut off at the front; what an agent let go of is archived or quarantined. */
export const ackedMeansDurable: Check = function* ({ truth, durableMessages, ...evidence }) {
  for (const message of truth.ackedMessages) {
    if (!durableMessages.has(message))
      yield { promise: 'acked-means-durable', message: `message ${message} was acked and is not in the log` }
  }
  const kept = new Set([...evidence.readings.map(nameOf), ...quarantinedSerials(evidence)])
  for (const reading of truth.readings.values()) {
    if (reading.isAcked && !kept.has(nameOfReading(reading)))
      yield { promise: 'acked-means-durable', message: `${nameOfReading(reading)} was acked and is nowhere` }
  }
}

/** No row is doubled, none differs from what was sampled, and every ledger balances. */
export const exactlyOnce: Check = function* ({ truth, readings, epochs }) {
  const [byName, byIdentity] = [new Set<string>(), new Set<string>()]
  for (const row of readings) {
    const name = nameOf(row)
    const identity = `${row.device_id}/${row.epoch}/${row.seq}/${row.event_id}`
    if (byName.has(name) || byIdentity.has(identity)) yield { promise: 'exactly-once', message: `${name} (${identity}) is archived twice` }
    byName.add(name)
    byIdentity.add(identity)
    const sampled = truth.of(text(row, 'device_id'), number(row, 'serial'))
    if (sampled === undefined) yield { promise: 'exactly-once', message: `${name} was never sampled` }
    else if (!isSame(row, sampled)) yield { promise: 'exactly-once', message: `${name} is not what was sampled: ${JSON.stringify(row)}` }
  }
  for (const ledger of epochs) {
    const { deviceId, epoch, highestSampledSeq, archived, quarantined, shed, buffered, missing, waiting } = ledger
    const isOpen = truth.restored.has(deviceId)
    const fates = archived + quarantined + shed + buffered + missing
    if (fates !== highestSampledSeq || missing !== 0 || waiting !== 0 || (buffered !== 0 && !isOpen))
      yield { promise: 'exactly-once', message: `the ledger of ${deviceId}, epoch ${epoch}, does not balance: ${JSON.stringify(ledger)}` }
    const rows = readings.filter(row => row.device_id === deviceId && (row.epoch ?? 0) === epoch).length
    if (rows !== archived) yield { promise: 'exactly-once', message: `${deviceId}, epoch ${epoch}: ${rows} rows for ${archived} archived` }
  }
}

/** What the ledgers say was sampled is what was. */
export const ledgersCountWhatWasSampled: Check = function* ({ truth, epochs }) {
  const sampled = groupBy(truth.readings.values(), reading => reading.deviceId)
  const ledgers = groupBy(epochs, ledger => ledger.deviceId)
  for (const [deviceId, readings] of sampled) {
    if (truth.restored.has(deviceId)) continue // seqs were given twice
    const counted = (ledgers.get(deviceId) ?? []).reduce((sum, { highestSampledSeq }) => sum + highestSampledSeq, 0)
    if (counted !== readings.length)
      yield { promise: 'exactly-once', message: `${deviceId} sampled ${readings.length} readings, its ledgers say ${counted}` }
  }
}

/** Each reading that was sampled has one fate; what is quarantined has its bytes; late readings have corrected the features. */
export const nothingDropped: Check = function* (evidence) {
  const { truth, readings } = evidence
  const archived = new Set(readings.map(nameOf))
  const quarantined = new Set(quarantinedSerials(evidence))
  for (const reading of truth.readings.values()) {
    const name = nameOfReading(reading)
    const fates = (archived.has(name) ? 1 : 0) + (quarantined.has(name) ? 1 : 0)
    if (reading.fate === 'delivered' && fates === 0)
      yield { promise: 'nothing-dropped', message: `${name} is neither archived nor quarantined` }
    if (fates === 2 && reading.fate !== 'shed' && !truth.restored.has(reading.deviceId))
      yield { promise: 'nothing-dropped', message: `${name} is both archived and quarantined` }
  }
  const payloads = new Set(evidence.quarantine.map(row => payloadKey(text(row, 'device_id'), row.payload)))
  for (const { deviceId, payload, isAcked } of truth.garbage) {
    if (isAcked && !payloads.has(payloadKey(deviceId, payload)))
      yield { promise: 'nothing-dropped', message: `${payload.length} bytes of ${deviceId} were acked and are not in the quarantine` }
  }
}

/** Names of the readings in the quarantine, read out of the bytes that it keeps. */
function quarantinedSerials({ quarantine }: Evidence | Pick<Evidence, 'quarantine'>): string[] {
  const names: string[] = []
  for (const rows of groupBy(quarantine, row => `${row.entry}/${row.frame_index}`).values()) {
    const payload = rows.map(row => row.payload).find(bytes => bytes instanceof Uint8Array)
    if (payload !== undefined) for (const row of rows) names.push(...serialsIn(payload as Uint8Array, row))
  }
  return names
}

function serialsIn(payload: Uint8Array, row: Row): string[] {
  const deviceId = text(row, 'device_id')
  if (row.kind === 'json') {
    const items = decodeJson(payload) ?? []
    const of = items.find(item => item.ok && item.reading.eventId === row.event_id)
    return of?.ok ? [`${deviceId}/${of.reading.fields.get('serial')}`] : []
  }
  const batch = decodeBatch(payload, () => PROBE)
  const column = batch?.columns[0]
  const at = batch?.header.seqs.indexOf(number(row, 'seq')) ?? -1
  return column?.kind === 'numeric' && at >= 0 ? [`${deviceId}/${column.values[at]}`] : []
}

function isSame(row: Row, { eventTimeMs, values }: SampledReading): boolean {
  return row.event_time === eventTimeMs && PROBE.metrics.every(({ name }, m) => Object.is(row[name], values[m]))
}

function nameOf(row: Row): string {
  return `${row.device_id}/${row.serial}`
}

function nameOfReading({ deviceId, serial }: SampledReading): string {
  return `${deviceId}/${serial}`
}

function payloadKey(deviceId: string, payload: unknown): string {
  return `${deviceId}/${payload instanceof Uint8Array ? Buffer.from(payload).toString('hex') : 'none'}`
}
