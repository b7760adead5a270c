/** What the fast reader takes, it takes as `decodeBatch` does. */
import { type Batch, columnsOf, decodeBatch, encodeBatch, PlainBatch, PRESENT, type Profile, ROTATING_MACHINE } from '@tidemark/protocol'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { arbitraryBatch } from './arbitrary-batch.js'
import { lookUpMixed, MIXED, MIXED_ROWS, mixedInput } from './batch-kit.js'

/** The batch in the form of `decodeBatch`, nulls marked by NaN and null. */
function readingsOf(plain: PlainBatch): unknown {
  const { profile, epoch, oldestHeldSeq, highestSampledSeq, count, clock, seqs, eventTimesMs } = plain
  const columns = profile.metrics.map(({ type }, m) =>
    type === 'string' ? plain.texts[m].slice(0, count) : [...plain.values.subarray(m * count, (m + 1) * count)]
  )
  return {
    epoch,
    oldestHeldSeq,
    highestSampledSeq,
    clock,
    seqs: [...seqs.subarray(0, count)],
    times: [...eventTimesMs.subarray(0, count)],
    columns
  }
}

function expected({ header, eventTimesMs, clock, columns }: Batch): unknown {
  const { epoch, oldestHeldSeq, highestSampledSeq, seqs } = header
  const values = columns.map(column => {
    const isThere = (i: number) => column.state === null || column.state[i] === PRESENT
    return column.kind === 'string'
      ? column.values.map((value, i) => (isThere(i) ? value : null))
      : Array.from(column.values, (value, i) => (isThere(i) ? value : Number.NaN))
  })
  return { epoch, oldestHeldSeq, highestSampledSeq, clock, seqs: [...seqs], times: [...eventTimesMs!], columns: values }
}

/** Reads the payload where it lies between other bytes; where it is taken, expects what `decodeBatch` gives. */
function expectSame(
  plain: PlainBatch,
  payload: Uint8Array,
  profileOf: (name: string, version: number) => Profile | 'unknown-profile'
): boolean {
  const entry = new Uint8Array(payload.length + 40).fill(0x01)
  entry.set(payload, 20)
  if (!plain.read(entry, 20, 20 + payload.length, profileOf)) return false
  const batch = decodeBatch(payload, profileOf)
  expect(batch).toMatchObject({ reject: null, tombstones: [], extra: [], endOfStreamSeq: null })
  expect(batch?.columns.some(column => column.state?.includes(2))).toBe(false)
  expect(readingsOf(plain)).toEqual(expected(batch!))
  return true
}

describe('the fast reader', () => {
  test('agrees with the decoder on every batch that it takes', () => {
    const plain = new PlainBatch()
    let taken = 0
    fc.assert(
      fc.property(arbitraryBatch, fc.boolean(), ({ input }, isBare) => {
        const { tombstones, extra, endOfStreamSeq, ...bare } = input
        if (expectSame(plain, encodeBatch(isBare ? bare : input), () => input.profile)) taken++
      }),
      { numRuns: 400 }
    )
    expect(taken).toBeGreaterThan(20)
  })

  test('agrees with the decoder whatever byte is changed, and when the payload is cut anywhere', () => {
    const plain = new PlainBatch()
    const rows = MIXED_ROWS.map(([a, b, ...others]) => [a, b ?? 0.3, ...others]) // a float that is null is rare
    const { tombstones, extra, endOfStreamSeq, ...bare } = mixedInput({ columns: columnsOf(MIXED, rows) })
    expect(expectSame(plain, encodeBatch(bare), lookUpMixedOnly)).toBe(true) // else all that follows would be refused at once
    for (const input of [bare, mixedInput(), mixedInput({ tombstones: [] })]) {
      const payload = encodeBatch(input)
      for (let at = 0; at < payload.length; at++) {
        expectSame(plain, payload.subarray(0, at), lookUpMixedOnly)
        for (let byte = 0; byte < 256; byte++) {
          const damaged = payload.slice()
          damaged[at] = byte
          expectSame(plain, damaged, lookUpMixedOnly)
        }
      }
    }
  })

  test('agrees with the decoder on random damage', () => {
    const plain = new PlainBatch()
    fc.assert(
      fc.property(arbitraryBatch, fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 3 }), ({ input }, damage) => {
        const { tombstones, extra, endOfStreamSeq, ...bare } = input
        const payload = encodeBatch(bare)
        for (const [at, byte] of damage) payload[at % payload.length] = byte
        expectSame(plain, payload, name => (name === input.profile.name ? input.profile : 'unknown-profile'))
      }),
      { numRuns: 400 }
    )
  })

  test('takes the readings of a machine, one or many, with its nulls and its strings', () => {
    const plain = new PlainBatch()
    for (const count of [1, 2, 60, 1000]) {
      const values = Float64Array.from({ length: count }, (_, i) => 20 + (i % 7) / 100)
      const columns = ROTATING_MACHINE.metrics.map(({ type }, m) =>
        type === 'string'
          ? { kind: 'string' as const, values: new Array<string>(count).fill('hall 3'), state: null }
          : {
              kind: 'numeric' as const,
              values: type === 'float' ? values : new Float64Array(count),
              state: m === 6 ? new Uint8Array(count).fill(1) : null
            }
      )
      const payload = encodeBatch({
        profile: ROTATING_MACHINE,
        epoch: 2 ** 53 - 1,
        oldestHeldSeq: 70_000,
        highestSampledSeq: 80_000,
        buffered: count,
        seqs: Float64Array.from({ length: count }, (_, i) => 70_000 + i),
        eventTimesMs: Float64Array.from({ length: count }, (_, i) => 1_795_000_000_000 + i * 5000),
        columns
      })
      expect(expectSame(plain, payload, () => ROTATING_MACHINE)).toBe(true)
    }
  })
})

function lookUpMixedOnly(name: string, version: number): Profile | 'unknown-profile' {
  const found = lookUpMixed(name, version)
  return typeof found === 'string' ? 'unknown-profile' : found
}
