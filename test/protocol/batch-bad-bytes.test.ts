import { Decoder, Encoder } from '@msgpack/msgpack'
import { decodeBatch, encodeBatch, PAYLOAD_BYTES_MAX, profileSchema, ROTATING_MACHINE, WATER_LOOP } from '@tidemark/protocol'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { arbitraryBatch } from './arbitrary-batch.js'
import { bytes, expectSound, HEADER, headerWith, lookUpMixed, MIXED, mixedInput, payloadOf } from './batch-kit.js'

const encoder = new Encoder()

describe('any bytes give a batch, a reject reason or null', () => {
  test('arbitrary bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), noise => {
        expectSound(decodeBatch(noise, lookUpMixed), MIXED)
      }),
      { numRuns: 5000 }
    )
  })

  test('arbitrary bytes behind a good header are accounted by it', () => {
    const header = encoder.encode(HEADER)
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 100 }), noise => {
        const batch = decodeBatch(bytes(header, noise), lookUpMixed)
        expectSound(batch, MIXED)
        expect(batch?.header.seqs).toEqual(Float64Array.of(7, 8, 9))
      }),
      { numRuns: 2000 }
    )
  })

  test('arbitrary MessagePack values in place of header and body', () => {
    const value = fc.letrec(tie => ({
      any: fc.oneof(
        { maxDepth: 5 },
        fc.constant(null),
        fc.boolean(),
        fc.integer(),
        fc.double(),
        fc.string(),
        fc.uint8Array({ maxLength: 9 }),
        fc.array(tie('any'))
      ),
      body: fc.array(tie('any'), { maxLength: 7 })
    }))
    fc.assert(
      fc.property(fc.oneof(fc.constant(HEADER), value.body), value.body, (header, body) => {
        expectSound(decodeBatch(payloadOf(header, body), lookUpMixed), MIXED)
      }),
      { numRuns: 3000 }
    )
  })

  test('valid batches with some bytes changed, added or removed', () => {
    const change = fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 }), fc.constantFrom('set', 'add', 'remove'))
    fc.assert(
      fc.property(arbitraryBatch, fc.array(change, { minLength: 1, maxLength: 4 }), ({ input }, changes) => {
        const payload = [...encodeBatch(input)]
        for (const [at, byte, how] of changes)
          payload.splice(at % payload.length, how === 'add' ? 0 : 1, ...(how === 'remove' ? [] : [byte]))
        expectSound(
          decodeBatch(Uint8Array.from(payload), () => input.profile),
          input.profile
        )
      }),
      { numRuns: 2000 }
    )
  })

  test('a valid batch cut off anywhere is null or rejected, with the header it had', () => {
    fc.assert(
      fc.property(arbitraryBatch, ({ input }) => {
        const payload = encodeBatch(input)
        const whole = decodeBatch(payload, () => input.profile)
        for (let length = 0; length < payload.length; length++) {
          const cut = decodeBatch(payload.subarray(0, length), () => input.profile)
          if (cut === null) continue
          expect(cut.reject).toBe('columns-damaged')
          expect(cut.header).toEqual(whole?.header)
        }
      }),
      { numRuns: 60 }
    )
  })

  test('a byte behind the end damages a batch too', () => {
    expect(decodeBatch(bytes(encodeBatch(mixedInput()), 0xc0), lookUpMixed)?.reject).toBe('columns-damaged')
  })
})

describe('time and memory are bounded', () => {
  const array32 = [0xdd, 0xff, 0xff, 0xff, 0xff]
  const header = encoder.encode(HEADER)
  const filled = (pattern: readonly number[]) => Uint8Array.from({ length: PAYLOAD_BYTES_MAX }, (_, i) => pattern[i % pattern.length])
  const wide = profileSchema.parse({ name: 'wide', interval: '1s', metrics: Array.from({ length: 256 }, (_, m) => ({ name: `m${m}` })) })
  const wideHeader = [1, 'wide', 1, 42, 0, 1000, 1000, 1, 0, 1000]
  const bombs: [string, Uint8Array][] = [
    ['an array of 2^32 - 1', bytes(array32)],
    ['arrays of 2^24 in each other', filled([0xdd, 0x00, 0xff, 0xff, 0xff])],
    ['arrays of 2^32 - 1 in each other behind a good header', bytes(header, filled(array32).subarray(header.length))],
    ['arrays of one in each other', filled([0x91])],
    ['arrays of one in each other behind a good header', bytes(header, filled([0x91]).subarray(header.length))],
    ['arrays of 1000 in each other', filled([0xdc, 0x03, 0xe8])],
    ['a string of 2^32 - 1 bytes', bytes(0xdb, 0xff, 0xff, 0xff, 0xff, 0x61)],
    ['bytes of 2^32 - 1', bytes(header, 0x92, 0x00, 0x96, 0xc6, 0xff, 0xff, 0xff, 0xff)],
    ['a map of 2^32 - 1', bytes(0xdf, 0xff, 0xff, 0xff, 0xff)],
    ['an extension of 2^32 - 1 bytes', bytes(header, 0x92, 0xc9, 0xff, 0xff, 0xff, 0xff, 0x01)],
    ['a count of 2^32', payloadOf(headerWith(9, 2 ** 32), [0, []])],
    [
      'as many arrays as fit',
      bytes(header, 0x92, 0x00, 0xdc, 0x03, 0xe8, filled([0xdc, 0x00, 0x80, ...new Array<number>(128).fill(0x90)]).subarray(100))
    ],
    ['256 columns of a byte for 1000 readings', payloadOf(wideHeader, [0, new Array(256).fill(null)])]
  ]

  function growthBytes(call: () => unknown): number {
    const used = () => {
      const { heapUsed, arrayBuffers } = process.memoryUsage()
      return heapUsed + arrayBuffers
    }
    const before = used()
    call()
    return used() - before
  }

  test('the library by itself allocates tens of megabytes for five bytes, so that this measure is worth something', () => {
    const grown = growthBytes(() => {
      expect(() => new Decoder().decode(bytes(0xdd, 0x00, 0xff, 0xff, 0xff))).toThrow()
    })
    expect(grown).toBeGreaterThan(50e6)
  })

  for (const [what, bomb] of bombs) {
    test(`${what} costs at most 8 MB and half a second of CPU`, () => {
      const lookUp = (name: string) => (name === 'wide' ? wide : MIXED)
      const start = process.cpuUsage()
      const grown = growthBytes(() => decodeBatch(bomb, lookUp))
      expect(process.cpuUsage(start).user).toBeLessThan(500_000) // microseconds
      expect(grown).toBeLessThan(8e6)
      expectSound(decodeBatch(bomb, lookUp), wide)
    })
  }

  test('a payload past 128 KiB is not looked at, one of 128 KiB is', () => {
    const extra = Array.from({ length: 31 }, (_, k) => ({ name: `a${k}`, values: ['x'.repeat(4096), null, null] }))
    const unfilled = encodeBatch(mixedInput({ extra: [...extra, { name: 'b', values: ['', null, null] }] })).length + 2
    const full = encodeBatch(
      mixedInput({ extra: [...extra, { name: 'b', values: ['x'.repeat(PAYLOAD_BYTES_MAX - unfilled), null, null] }] })
    )
    expect(full.length).toBe(PAYLOAD_BYTES_MAX)
    expect(decodeBatch(full, lookUpMixed)?.reject).toBeNull()
    expect(decodeBatch(bytes(full, 0xc0), lookUpMixed)).toBeNull()
  })
})

test('the built-in profiles take arbitrary columns without a throw', () => {
  for (const profile of [ROTATING_MACHINE, WATER_LOOP]) {
    const column = fc.oneof(
      fc.constant(null),
      fc.double(),
      fc.boolean(),
      fc.string(),
      fc.uint8Array({ maxLength: 24 }),
      fc.array(fc.oneof(fc.integer(), fc.constant(null), fc.string(), fc.uint8Array()), { maxLength: 4 })
    )
    const columns = fc.array(column, { minLength: profile.metrics.length, maxLength: profile.metrics.length })
    fc.assert(
      fc.property(columns, drawn => {
        expectSound(
          decodeBatch(payloadOf([1, profile.name, 1, 42, 2, 10, 9, 7, 0, 3], [0, drawn]), () => profile),
          profile
        )
      }),
      { numRuns: 1000 }
    )
  }
})
