import fc from 'fast-check'
import { expect, test } from 'vitest'
import { encodeMessage, encodeWaveHead, MessageSplitter, type ToFront } from '../../../gateway/src/front/link-messages.js'

type Said = { wave: number; hasStatus: boolean; frames: string } | ToFront

const said: fc.Arbitrary<Said> = fc.oneof(
  fc.record({
    wave: fc.nat(),
    hasStatus: fc.boolean(),
    frames: fc.string({ maxLength: 300 }).map(text => Buffer.from(text).toString('hex'))
  }),
  fc.record({ type: fc.constant('take-over' as const), deviceId: fc.string(), number: fc.nat() }),
  fc.record({
    type: fc.constant('settled' as const),
    through: fc.nat(),
    error: fc.option(fc.string()),
    refused: fc.array(fc.tuple(fc.nat(), fc.nat()))
  })
)

function bytesOf(message: Said): Buffer {
  if ('type' in message) return encodeMessage(message)
  const frames = Buffer.from(message.frames, 'hex')
  return Buffer.concat([encodeWaveHead(message.wave, message.hasStatus, frames.length), frames])
}

test('what was said is heard in order, however the stream is cut', () => {
  const sizes = fc.array(fc.integer({ min: 1, max: 90 }), { minLength: 1, maxLength: 8 })
  fc.assert(
    fc.property(fc.array(said, { maxLength: 12 }), sizes, (all, sizes) => {
      const heard: Said[] = []
      const splitter = new MessageSplitter<ToFront>({
        message: message => heard.push(message),
        wave: (wave, hasStatus, frames) => heard.push({ wave, hasStatus, frames: Buffer.from(frames).toString('hex') })
      })
      const stream = Buffer.concat(all.map(bytesOf))
      for (let at = 0, piece = 0; at < stream.length; piece++) {
        const end = Math.min(stream.length, at + sizes[piece % sizes.length])
        splitter.feed(stream.subarray(at, end))
        at = end
      }
      expect(heard).toEqual(all)
    })
  )
})

test('a length that no message has is a mistake of ours', () => {
  const splitter = new MessageSplitter<ToFront>({ message: () => {}, wave: () => {} })
  expect(() => splitter.feed(Buffer.from([0xff, 0xff, 0xff, 0xff, 1]))).toThrow('between core and front')
})
