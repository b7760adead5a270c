import { decodeBatch, ROTATING_MACHINE, valueAt } from '@tidemark/protocol'
import { describe, expect, test } from 'vitest'
import { deviceOf, newReadingColumns, type RunPlan, writeReading } from '../../simulator/src/device.js'
import { faultAt, holdSeqs } from '../../simulator/src/faults.js'
import { endOfStream, lastStep, oldestSeqAt, type Publication, publicationsAt } from '../../simulator/src/publication.js'

const LAST_SEQ = 400
const plan: RunPlan = {
  seed: 3,
  firstDevice: 0,
  devices: 10,
  startMs: Date.UTC(2026, 0, 1),
  intervalMs: 1000,
  rates: { duplicates: 0.1, late: 0.3, poison: 0.2 }
}
const device = deviceOf(plan, 4)
const decode = (payload: Uint8Array) => decodeBatch(payload, () => ROTATING_MACHINE)

function everything(): { step: number; publication: Publication }[] {
  const out: { step: number; publication: Publication }[] = []
  for (let step = 1; step <= lastStep(LAST_SEQ); step++) {
    const highestSampledSeq = Math.min(step, LAST_SEQ)
    const header = { oldestHeldSeq: oldestSeqAt(step), highestSampledSeq, buffered: 1 }
    for (const publication of publicationsAt(plan, device, step, highestSampledSeq, header)) out.push({ step, publication })
  }
  return out
}

describe('the publications of a device', () => {
  test('hold each reading once, and twice where it is a duplicate', () => {
    const times = new Map<number, number>()
    for (const { publication } of everything()) if (publication.seq > 0) times.set(publication.seq, (times.get(publication.seq) ?? 0) + 1)
    const expected = Array.from({ length: LAST_SEQ }, (_, i) => (faultAt(plan.seed, plan.rates, 4, i + 1) === 'duplicate' ? 2 : 1))
    expect(Array.from({ length: LAST_SEQ }, (_, i) => times.get(i + 1))).toEqual(expected)
    expect(new Set(expected).size).toBe(2)
  })

  test('decode to the readings of the device', () => {
    const columns = newReadingColumns(1)
    for (const { publication } of everything()) {
      if (publication.seq === 0) continue
      writeReading(plan, device, publication.seq, columns, 0)
      const batch = decode(publication.payload)!
      expect([...batch.header.seqs]).toEqual([publication.seq])
      expect([...batch.eventTimesMs!]).toEqual([columns.eventTimesMs[0]])
      const expected = columns.metrics.map(values => (Number.isNaN(values[0]) ? null : values[0]))
      const decoded = ROTATING_MACHINE.metrics.map((metric, m) => valueAt(batch.columns[m], metric, 0))
      expect(decoded).toEqual([...expected.slice(0, 8), expected[8] !== 0, device.machine.location])
    }
  })

  test('let what is held back follow its successors, as many as were drawn', () => {
    const held = everything().filter(({ publication }) => publication.fault === 'held-back')
    expect(held.length).toBeGreaterThan(20)
    for (const { step, publication } of held) expect(step).toBe(publication.seq + holdSeqs(plan.seed, 4, publication.seq))
  })

  test('never claim that a reading is settled which is still to come', () => {
    let oldest = Number.POSITIVE_INFINITY
    for (const { publication } of everything().reverse()) {
      if (publication.seq === 0) continue
      oldest = Math.min(oldest, publication.seq)
      expect(decode(publication.payload)!.header.oldestHeldSeq).toBeLessThanOrEqual(oldest)
    }
  })

  test('bring a message that is no batch before a reading with that fault', () => {
    const all = everything()
    const junk = all.flatMap(({ publication }, i) => (publication.kind === 'undecodable' ? [i] : []))
    expect(junk.length).toBeGreaterThan(5)
    for (const i of junk) {
      expect(decode(all[i].publication.payload)).toBeNull()
      expect(all[i + 1].publication).toMatchObject({ kind: 'reading', fault: 'undecodable' })
    }
  })

  test('end with a mark that names the last seq and holds nothing back', () => {
    const batch = decode(endOfStream(device, LAST_SEQ).payload)!
    expect(batch.endOfStreamSeq).toBe(LAST_SEQ)
    expect(batch.header).toMatchObject({ epoch: device.epoch, oldestHeldSeq: LAST_SEQ + 1, highestSampledSeq: LAST_SEQ, buffered: 0 })
  })
})
