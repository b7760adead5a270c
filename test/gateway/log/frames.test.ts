import fc from 'fast-check'
import { expect, test } from 'vitest'
import { type Frame, type FrameKind, frameBytes, readFrames, writeFrame } from '../../../gateway/src/log/frames.js'

const frame: fc.Arbitrary<Frame> = fc.record({
  kind: fc.constantFrom<FrameKind>('batch', 'json', 'status', 'tick', 'control', 'requeue'),
  deviceId: fc.stringMatching(/^[A-Za-z0-9._-]{0,64}$/),
  payload: fc.uint8Array({ maxLength: 300 })
})

function pack(frames: readonly Frame[]): Buffer {
  const entry = Buffer.alloc(frames.reduce((bytes, { deviceId, payload }) => bytes + frameBytes(deviceId, payload.length), 0))
  let at = 0
  for (const { kind, deviceId, payload } of frames) at = writeFrame(entry, at, kind, deviceId, payload)
  expect(at).toBe(entry.length)
  return entry
}

test('an entry gives back the frames that were written into it', () => {
  fc.assert(
    fc.property(fc.array(frame, { maxLength: 20 }), frames => {
      const read = [...readFrames(pack(frames))].map(({ kind, deviceId, payload }) => ({
        kind,
        deviceId,
        payload: Uint8Array.from(payload)
      }))
      expect(read).toEqual(frames.map(({ kind, deviceId, payload }) => ({ kind, deviceId, payload: Uint8Array.from(payload) })))
    })
  )
})

test('an entry that was cut anywhere inside a frame is damaged', () => {
  const entry = pack([{ kind: 'json', deviceId: 'press-1', payload: Buffer.from('{}') }])
  for (let end = 1; end < entry.length; end++) expect(() => [...readFrames(entry.subarray(0, end))]).toThrow(/no list of frames/)
})

test('an unknown kind is damage', () => {
  expect(() => [...readFrames(Buffer.from([99, 0, 0, 0, 0, 0]))]).toThrow(/no list of frames/)
})
