/** The fast way for plain batches does to the state and the rows exactly what the way for all batches does. */
import { encode } from '@msgpack/msgpack'
import fc from 'fast-check'
import { expect, test, vi } from 'vitest'
import type { LogEntry } from '../../../gateway/src/log/schema.js'
import type { Flush } from '../../../gateway/src/processor/flush.js'
import { Processor } from '../../../gateway/src/processor/processor.js'
import { log, writeLog } from '../../kit/arbitrary-log.js'
import { EventIdsInMemory } from '../../kit/event-ids-in-memory.js'
import { at, Timeline } from '../../kit/timeline.js'

const PLAIN = '../../../gateway/src/processor/ingest-plain.js'

function flushesOf(make: typeof Processor, entries: readonly LogEntry[]): Flush[] {
  const processor = new make(new EventIdsInMemory())
  return entries.map(entry => processor.apply(entry)).filter(flush => flush !== null)
}

const leftAlone = vi.fn(() => false)

/** The processor without the fast way: every batch goes the way for all. */
async function slowProcessor(): Promise<typeof Processor> {
  vi.resetModules()
  vi.doMock(PLAIN, () => ({ ingestPlain: leftAlone }))
  try {
    return (await import('../../../gateway/src/processor/processor.js')).Processor
  } finally {
    vi.doUnmock(PLAIN)
  }
}

function expectSame(fast: readonly Flush[], slow: readonly Flush[]): void {
  for (const [i, flush] of slow.entries()) {
    expect({ ...fast[i], snapshot: null }).toEqual({ ...flush, snapshot: null })
    expect(Buffer.compare(encode(fast[i]), encode(flush)), `flush ${i}, its snapshot included`).toBe(0)
  }
  expect(fast.length).toBe(slow.length)
  expect(leftAlone).toHaveBeenCalled()
}

test('on logs with everything in them', async () => {
  const slow = await slowProcessor()
  fc.assert(
    fc.property(log, steps => {
      const t = new Timeline()
      writeLog(t, steps)
      t.drain()
      expectSame(flushesOf(Processor, t.entries), flushesOf(slow, t.entries))
    }),
    { numRuns: 60 }
  )
})

test('on batches in order, over an hour, late ones among them', async () => {
  const slow = await slowProcessor()
  const t = new Timeline().start()
  for (let seq = 1; seq <= 400; seq++) t.reading({ seq, eventTimeMs: at('10:00') + (seq * 20 - (seq % 7 === 0 ? 90 : 0)) * 1000 })
  t.drain()
  const fast = flushesOf(Processor, t.entries)
  expectSame(fast, flushesOf(slow, t.entries))
  expect(fast.at(-1)!.epochs).toMatchObject([{ archived: 400, missing: 0 }])
})
