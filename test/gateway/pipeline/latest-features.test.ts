/** The latest feature row of each device, of the flushes that left the processor. */
import { expect, test } from 'vitest'
import { LatestFeatures } from '../../../gateway/src/pipeline/latest-features.js'
import { at, timeline } from '../../kit/timeline.js'

test('is the row of the latest hop, and of that the last revision; a correction of an older one does not replace it', () => {
  const t = timeline({ smallHourWaitMs: 0, correctionIntervalMs: 1000 })
  const latest = new LatestFeatures()
  const shown = () => {
    for (const flush of t.flushes.splice(0)) latest.take(flush)
    const row = latest.find('pump-7', 'pump')
    const cell = (name: string) => row?.cells[row.columns.findIndex(column => column.name === name)]
    return [cell('as_of'), cell('revision'), cell('temp_max_5m')]
  }
  t.batch({ readings: ['13:00:30', '13:01:30', '13:03:00'].map((time, i) => ({ seq: i + 1, eventTimeMs: at(time) })) })
  t.tick(61_000)
  expect(shown()).toEqual([at('13:02'), 0, 20])
  t.reading({ seq: 4, eventTimeMs: at('13:01:40'), values: { temperature: 30 } })
  t.tick(61_000)
  expect(shown(), 'corrected').toEqual([at('13:02'), 1, 30])
  t.reading({ seq: 5, eventTimeMs: at('13:04') })
  t.tick(61_000)
  expect(shown(), 'the next hop').toEqual([at('13:03'), 0, 30])
  t.reading({ seq: 6, eventTimeMs: at('12:50') })
  t.tick(61_000)
  expect(shown(), 'an older hop').toEqual([at('13:03'), 0, 30])
})
