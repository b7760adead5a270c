import { join } from 'node:path'
import { type Batch, decodeBatch, WATER_LOOP } from '@tidemark/protocol'
import { expect, test } from 'vitest'
import { BatchBuilder } from '../../agent/src/batch-builder.js'
import { Delivery } from '../../agent/src/core/delivery.js'
import { RateLimit } from '../../agent/src/core/rate-limit.js'
import { openBuffer, temporaryFolder } from './kit.js'

function decoded(payload: Uint8Array): Batch {
  const batch = decodeBatch(payload, () => WATER_LOOP)
  if (batch === null) throw new Error('no batch')
  return batch
}

test('tombstones of an epoch whose readings are gone go out before the readings of the next, once, however many of these keep coming', async () => {
  const buffer = openBuffer(join(await temporaryFolder(), 'b.sqlite'))
  const old = buffer.epoch
  const append = () => {
    const values = WATER_LOOP.metrics.map(() => 1)
    buffer.append({ profile: WATER_LOOP, entries: [{ eventTimeMs: 1, values }], source: null, nulledValues: 0, eventTimeMs: 1 })
  }
  for (let i = 0; i < 5; i++) append()
  buffer.replaceSpentEpoch(old) // none was published: all get another epoch, and their seqs in the old one are declared
  const sent: { batch: Batch; acked: () => void }[] = []
  const delivery: Delivery = new Delivery(
    { buffer, builder: new BatchBuilder(buffer, WATER_LOOP, 1, 65_536), inFlightMax: 3, rate: new RateLimit() },
    {
      nowMs: () => 0,
      publish: (payload, acked) => sent.push({ batch: decoded(payload), acked }),
      turnSoon: () => delivery.finishTurn(),
      turnWithin: () => {},
      wakeIn: () => {},
      note: () => {}
    }
  )
  delivery.up()
  const shown = () =>
    sent.map(({ batch }) => [batch.header.epoch === old ? 'old' : 'new', batch.header.seqs.length, batch.tombstones.length])
  expect(shown()).toEqual([
    ['old', 0, 1],
    ['new', 1, 0],
    ['new', 1, 0]
  ])
  expect(sent[0].batch.tombstones).toEqual([{ firstSeq: 1, lastSeq: 5, keepEvery: 0, reason: 'epoch-spent' }])
  for (let i = 0; i < sent.length && i < 20; i++) {
    if (i < 10) append() // there is always a next reading
    sent[i].acked()
  }
  expect(shown().filter(([epoch]) => epoch === 'old')).toHaveLength(1)
  expect(buffer.epochOfTombstones()).toBeNull()
  expect(buffer.held).toBe(0)
  buffer.close()
})

/** A delivery of single readings, eight in flight, under a clock that the test sets; what it deletes, by the commit. */
async function backlogOf(readings: number) {
  const buffer = openBuffer(join(await temporaryFolder(), 'b.sqlite'))
  const values = WATER_LOOP.metrics.map(() => 1)
  const entries = Array.from({ length: readings }, (_, i) => ({ eventTimeMs: i + 1, values }))
  buffer.append({ profile: WATER_LOOP, entries, source: null, nulledValues: 0, eventTimeMs: readings })
  const clock = { nowMs: 0 }
  const sent: (() => void)[] = []
  const deleted: number[] = []
  const askedWithin: number[] = []
  const delivery: Delivery = new Delivery(
    { buffer, builder: new BatchBuilder(buffer, WATER_LOOP, 1, 65_536), inFlightMax: 8, rate: new RateLimit() },
    {
      nowMs: () => clock.nowMs,
      publish: (_payload, acked) => sent.push(acked),
      turnSoon: () => delivery.finishTurn(),
      turnWithin: delayMs => askedWithin.push(delayMs),
      wakeIn: () => {},
      note: ({ note }) => {
        if (note === 'deleted') deleted.push(buffer.settledPosition)
      }
    }
  )
  delivery.up()
  return { buffer, clock, sent, deleted, askedWithin, delivery }
}

test('in a backlog one commit deletes half a window, and the last ones at once', async () => {
  const { buffer, sent, deleted } = await backlogOf(14)
  for (let i = 0; i < sent.length; i++) sent[i]()
  expect(deleted).toEqual([4, 8, 12, 14])
  expect(buffer.held).toBe(0)
  buffer.close()
})

test('what is acked does not wait for the PUBACKs of others for long, nor for a connection that is gone or an agent that stops', async () => {
  const { buffer, clock, sent, deleted, askedWithin, delivery } = await backlogOf(100)
  sent[0]()
  expect(deleted).toEqual([])
  clock.nowMs += askedWithin[0]
  delivery.finishTurn()
  expect(deleted).toEqual([1])
  sent[1]()
  sent[2]()
  expect(deleted).toEqual([1])
  delivery.down(false)
  expect(deleted).toEqual([1, 3])
  delivery.up()
  sent.splice(0, sent.length - 8)
  sent[0]()
  delivery.hold()
  delivery.finishTurn()
  expect(deleted).toEqual([1, 3, 4])
  buffer.close()
})
