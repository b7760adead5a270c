/** A small batch to start from, and what must be true of whatever a decoder gives. */
import { Encoder } from '@msgpack/msgpack'
import { type Batch, type BatchInput, columnsOf, type Profile, profileSchema, type Value } from '@tidemark/protocol'
import { expect } from 'vitest'

/** One metric of each kind. */
export const MIXED: Profile = profileSchema.parse({
  name: 'mixed',
  interval: '1s',
  metrics: [
    { name: 'temperature', resolution: 0.01 },
    { name: 'flow' },
    { name: 'rpm', type: 'int' },
    { name: 'running', type: 'bool' },
    { name: 'place', type: 'string', max: 64 }
  ]
})

export const MIXED_ROWS: readonly (readonly Value[])[] = [
  [20.5, 0.1, 1480, true, 'hall 1'],
  [20.51, null, 1481, null, null],
  [null, -0, null, false, 'hall 2']
]

export const lookUpMixed = (name: string, version: number) =>
  name !== 'mixed' ? 'unknown-profile' : version !== 1 ? 'unknown-profile-version' : MIXED

/** Three readings of `MIXED` with every optional part. */
export function mixedInput(change: Partial<BatchInput> = {}): BatchInput {
  return {
    profile: MIXED,
    epoch: 123_456_789,
    oldestHeldSeq: 5,
    highestSampledSeq: 20,
    buffered: 9,
    seqs: [7, 8, 10],
    eventTimesMs: [1_700_000_000_000, 1_700_000_001_000, 1_700_000_000_500],
    columns: columnsOf(MIXED, MIXED_ROWS),
    tombstones: [{ firstSeq: 1, lastSeq: 4, keepEvery: 2, reason: 'thinned' }],
    clock: 'estimated',
    endOfStreamSeq: 20,
    extra: [{ name: 'firmware', values: ['1.2', null, 3] }],
    ...change
  }
}

const encoder = new Encoder()
/** The header of readings 7, 8 and 9 of `MIXED`; the oldest held seq is 5, the highest sampled 16. */
export const HEADER = [1, 'mixed', 1, 42, 2, 10, 9, 7, 1_700_000_000_000, 3]
export const COLUMNS = [[2050, 1, null], null, 1480, true, 'hall 1']

/** A payload put together by hand. */
export function payloadOf(header: unknown, body: unknown): Uint8Array {
  return Uint8Array.from([...encoder.encode(header), ...encoder.encode(body)])
}

/** `HEADER` with one element changed. */
export function headerWith(index: number, value: unknown): unknown[] {
  return HEADER.map((element, i) => (i === index ? value : element))
}

/** Bytes, one behind the other. */
export function bytes(...parts: (number | number[] | Uint8Array)[]): Uint8Array {
  return Uint8Array.from(parts.flatMap(part => (typeof part === 'number' ? [part] : [...part])))
}

/** What holds of any batch, wherever its bytes came from. */
export function expectSound(batch: Batch | null, profile: Profile): void {
  if (batch === null) return
  const { header, reject, eventTimesMs, columns } = batch
  const count = header.seqs.length
  expect(header.oldestHeldSeq).toBeGreaterThanOrEqual(1)
  let last = header.oldestHeldSeq - 1
  for (const seq of header.seqs) {
    expect(Number.isSafeInteger(seq) && seq > last).toBe(true)
    last = seq
  }
  expect(Number.isSafeInteger(header.highestSampledSeq) && (count === 0 || header.highestSampledSeq >= last)).toBe(true)
  if (eventTimesMs === null) expect(reject).toBe('columns-damaged')
  else expect(eventTimesMs.length === count && eventTimesMs.every(Number.isSafeInteger)).toBe(true)
  expect(columns.length).toBe(reject === null && count > 0 ? profile.metrics.length : 0)
  for (const { values, state } of columns) expect(values.length === count && (state === null || state.length === count)).toBe(true)
  for (const { firstSeq, lastSeq, keepEvery } of batch.tombstones) {
    expect(firstSeq >= 1 && lastSeq >= firstSeq && lastSeq <= header.highestSampledSeq && keepEvery >= 0 && keepEvery !== 1).toBe(true)
  }
  for (const { values } of batch.extra) expect(values.length).toBe(count)
  expect([null, header.highestSampledSeq]).toContain(batch.endOfStreamSeq)
}
