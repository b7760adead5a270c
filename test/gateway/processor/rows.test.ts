/** Rows on their way to a file: null where nothing was written, and each device's own ID, however many of both there are. */
import { describe, expect, test } from 'vitest'
import { at, timeline } from '../../kit/timeline.js'

describe('a cell that was not written is null', () => {
  test('in each of many rows that are written cell by cell', () => {
    const t = timeline()
    for (let i = 0; i < 300; i++) t.message('batch', new Uint8Array([i % 256]))
    t.drain()
    const rows = t.quarantine()
    expect(rows.length).toBe(300)
    for (const [i, row] of rows.entries()) {
      expect(row).toMatchObject({ reason: 'undecodable', device_id: 'pump-7', epoch: null, seq: null, event_time: null, event_id: null })
      expect([...(row.payload as Uint8Array)]).toEqual([i % 256])
    }
  })

  test('also where rows that are written by cell, staged, and by column take turns', () => {
    const t = timeline()
    let seq = 0
    const next = () => ({ seq: ++seq, eventTimeMs: at('10:00') + seq * 1000 })
    for (let i = 0; i < 40; i++) {
      t.reading({ ...next(), values: { flow: 5 } })
      t.json({ event_id: `e${i}`, event_time: at('10:00'), profile: 'pump', temperature: 21 })
      t.batch({ readings: [next(), next(), next()] })
    }
    t.drain()
    const rows = t.readings()
    expect(rows.length).toBe(200)
    for (const row of rows) {
      const isOpaque = row.device_id === 'meter-1'
      expect(row).toMatchObject({ rpm: null, running: null, place: null, temperature: isOpaque ? 21 : 20 })
      expect([row.event_id === null, row.seq === null, row.epoch === null]).toEqual([!isOpaque, isOpaque, isOpaque])
    }
    expect(rows.filter(({ flow }) => flow === 5).length).toBe(40)
  })
})

test('the rows and the counts of each of many devices are its own', () => {
  const t = timeline({ devicesMax: 10_000 })
  const devices = Array.from({ length: 9000 }, (_, i) => `d${i}`)
  for (const seq of [1, 2]) {
    const frames = devices.map(device => ({
      kind: 'batch' as const,
      device,
      payload: t.encode({ device, readings: [{ seq, eventTimeMs: at('13:00') + seq * 1000 }] })
    }))
    t.append(...frames)
  }
  const { fleet, strings, deviceIds } = t.drain()
  const expected = [...devices, ...devices]
  expect(t.readings().map(({ device_id }) => device_id)).toEqual(expected)
  expect(strings.filter(text => text.startsWith('d'))).toEqual(devices) // each once in the dictionary
  expect(deviceIds).toEqual(devices) // here too
  expect(Array.from(fleet.hours.device, place => deviceIds[place])).toEqual(devices)
  expect(new Set(fleet.hours.counts.received)).toEqual(new Set([2]))
})
