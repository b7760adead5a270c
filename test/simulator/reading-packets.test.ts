import { encode } from '@msgpack/msgpack'
import { topicOf } from '@tidemark/protocol'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { deviceOf, type RunPlan } from '../../simulator/src/device.js'
import { NO_FAULTS } from '../../simulator/src/faults.js'
import { publishPacket } from '../../simulator/src/mqtt-packets.js'
import { writeInteger } from '../../simulator/src/msgpack-write.js'
import { publicationsAt } from '../../simulator/src/publication.js'
import { ReadingPackets } from '../../simulator/src/reading-packets.js'
import { Roster } from '../../simulator/src/roster.js'

const plan: RunPlan = {
  seed: 3,
  firstDevice: 0,
  devices: 1_000_000,
  startMs: Date.UTC(2026, 0, 1),
  intervalMs: 5000,
  rates: NO_FAULTS,
  troubles: { disconnects: 0, delays: 0, silence: 0, skew: 0.3 },
  backlog: { devices: 300_000, ms: 3_600_000 }
}

const someDevice = fc.integer({ min: 0, max: 999_999 })
const someSeq = fc.oneof(fc.integer({ min: 1, max: 400 }), fc.integer({ min: 1, max: 2 ** 32 - 1 }))

const someCount = fc.oneof(fc.nat(70_000), fc.nat(2 ** 31 - 1))

describe('the packet of a reading without a fault', () => {
  test('is, to the byte, what the way by columns gives', () => {
    const packets = new ReadingPackets()
    const lengths = new Set<number>()
    const property = fc.property(
      fc.record({ seed: fc.integer({ min: 0, max: 2 ** 32 - 1 }), index: someDevice, seq: someSeq }),
      fc.record({ held: someCount, ahead: someCount, buffered: someCount, messageId: fc.integer({ min: 1, max: 65_535 }) }),
      ({ seed, index, seq }, { held, ahead, buffered, messageId }) => {
        const seeded = { ...plan, seed }
        const device = deviceOf(seeded, index)
        const state = { oldestHeldSeq: Math.max(1, seq - held), highestSampledSeq: seq + ahead, buffered }
        const [{ payload }] = publicationsAt(seeded, device, seq, seq, state)
        const wanted = publishPacket(topicOf(device.id, 'batch'), payload, messageId)
        packets.write(seeded, device, seq, state, messageId)
        expect(packets.bytes.subarray(packets.start, packets.end).equals(wanted)).toBe(true)
        expect(packets.payloadBytes).toBe(payload.length)
        lengths.add(wanted.length)
      }
    )
    fc.assert(property, { numRuns: 3000 })
    expect(Math.min(...lengths)).toBeLessThanOrEqual(2 + 127) // one byte of remaining length, and two
    expect(Math.max(...lengths)).toBeGreaterThan(2 + 127)
  })

  test('stays as it is while later ones are written', () => {
    const packets = new ReadingPackets()
    const device = deviceOf(plan, 7)
    const state = { oldestHeldSeq: 1, highestSampledSeq: 2000, buffered: 1 }
    const kept = Array.from({ length: 2000 }, (_, i) => {
      packets.write(plan, device, i + 1, state, i + 1)
      return packets.bytes.subarray(packets.start, packets.end)
    })
    for (const [i, packet] of kept.entries()) {
      const [{ payload }] = publicationsAt(plan, device, i + 1, 2000, state)
      expect(packet.equals(publishPacket(topicOf(device.id, 'batch'), payload, i + 1))).toBe(true)
    }
  })
})

describe('an integer', () => {
  test('is written as @msgpack/msgpack writes it', () => {
    const into = new Uint8Array(16)
    const edges = [0, 0x80, 0x100, 0x10000, 2 ** 32, Number.MAX_SAFE_INTEGER, -0x20, -0x80, -0x8000, -(2 ** 31) + 1]
    const near = edges.flatMap(edge => [edge - 1, edge, edge + 1]).filter(Number.isSafeInteger)
    const property = fc.property(fc.oneof(fc.constantFrom(...near, -0), fc.integer({ min: -(2 ** 31), max: 2 ** 53 - 1 })), value => {
      expect(into.slice(0, writeInteger(into, 0, value))).toEqual(encode(value))
    })
    fc.assert(property, { numRuns: 1000 })
  })
})

describe('a roster', () => {
  test('has each device as it is made out alone, in any order, also when the run turns out to begin later', () => {
    const places = [5, 900_000, 17, 5, 5, 640_001]
    const roster = new Roster(plan, places.length, j => places[j])
    for (const of of [plan, { ...plan, startMs: plan.startMs + 1 }, plan])
      for (const j of [0, 1, 2, 1, 3, 5, 4, 0]) expect(roster.at(of, j)).toEqual(deviceOf(of, places[j]))
  })
})
