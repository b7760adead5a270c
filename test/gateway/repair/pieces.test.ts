import { expect, test } from 'vitest'
import { batchesOf, type Piece, piecesOf } from '../../../gateway/src/repair/pieces.js'

const range = (fromMs: number, throughMs: number) => ({ fromMs, throughMs })

//  ranges       (100, 200]  (200, 250]      (300, 400]                     (2000, 2100]
//  read back    100                                                        100
//  pieces    (0, 400]                                                   (1900, 2100]
test('ranges that need the same readings are one piece, those far apart are several', () => {
  const ranges = [range(100, 200), range(200, 250), range(300, 400), range(2000, 2100)]
  expect(piecesOf({ deviceId: 'a', ranges }, 100)).toEqual([
    { deviceId: 'a', sinceMs: 0, throughMs: 400, ranges: [range(100, 250), range(300, 400)] },
    { deviceId: 'a', sinceMs: 1900, throughMs: 2100, ranges: [range(2000, 2100)] }
  ])
})

test('a batch holds about as many readings as it may, and at least one piece', () => {
  const piece = (deviceId: string, readings: number): Piece => ({ deviceId, sinceMs: 0, throughMs: readings * 10, ranges: [range(0, 1)] })
  const pieces = [piece('a', 40), piece('b', 40), piece('c', 40), piece('d', 500), piece('e', 1)]
  const batches = [...batchesOf(pieces, 10, 100)].map(batch => batch.map(({ deviceId }) => deviceId).join(''))
  expect(batches).toEqual(['ab', 'c', 'd', 'e'])
})
