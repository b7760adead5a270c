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
