import { expect, test } from 'vitest'
import { encodeControl } from '../../../gateway/src/processor/control.js'
import { at, timeline } from '../../kit/timeline.js'

test('a control frame `repair` makes a boundary that takes all rows that wait and names what is to be computed', () => {
  const t = timeline({ smallHourWaitMs: 600_000 })
  t.batch({ readings: [{ seq: 1, eventTimeMs: at('10:00') }] })
  t.tick(60_000)
  expect(t.readings(), 'a small hour waits').toEqual([])
  const flush = t.append({ kind: 'control', payload: encodeControl({ control: 'repair' }) })!
  expect(t.readings()).toHaveLength(1)
  expect(flush.repairOrder?.ingestMs).toBe(t.nowMs)
  expect(flush.repairOrder?.profiles.map(({ name }) => name)).toEqual(['pump'])
  expect(flush.lastEntry).toBe(t.entries.length)
  t.batch({ readings: [{ seq: 2, eventTimeMs: at('13:59') }] })
  t.tick(60_000)
  expect(t.flushes.at(-1)!.lastEntry).toBeGreaterThan(flush.lastEntry)
  expect(t.flushes.at(-1)!.repairOrder, 'the next boundary orders nothing').toBeUndefined()
})
