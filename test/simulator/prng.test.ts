import fc from 'fast-check'
import { expect, test } from 'vitest'
import { bell, mix, unit } from '../../simulator/src/prng.js'

const uint32 = fc.integer({ min: 0, max: 2 ** 32 - 1 })

/** pcg4d as in the paper, in big integers: slow, and written apart from the one under test. */
function pcg4d(input: readonly number[]): number[] {
  const u32 = (n: bigint) => n & 0xffffffffn
  let [x, y, z, w] = input.map(n => u32(BigInt(n) * 1664525n + 1013904223n))
  const stir = () => {
    x = u32(x + y * w)
    y = u32(y + z * x)
    z = u32(z + x * y)
    w = u32(w + y * z)
  }
  stir()
  ;[x, y, z, w] = [x, y, z, w].map(n => n ^ (n >> 16n))
  stir()
  return [x, y, z, w].map(Number)
}

test('mix is pcg4d', () => {
  const lanes = new Uint32Array(4)
  fc.assert(
    fc.property(uint32, uint32, uint32, uint32, (a, b, c, d) => {
      mix(lanes, a, b, c, d)
      expect([...lanes]).toEqual(pcg4d([a, b, c, d]))
    })
  )
})

test('neighbouring seqs, devices and streams give numbers that are spread evenly', () => {
  const lanes = new Uint32Array(4)
  const buckets = new Array<number>(256).fill(0)
  const draws = 256_000
  for (let k = 0; k < draws; k++) {
    mix(lanes, 1, k % 40, Math.floor(k / 40) % 800, Math.floor(k / 32_000))
    buckets[lanes[0] >>> 24]++
  }
  const chiSquared = buckets.reduce((sum, n) => sum + (n - draws / 256) ** 2 / (draws / 256), 0)
  expect(chiSquared).toBeGreaterThan(160) // 255 degrees of freedom: within 160 and 370 but for one seed in 100,000
  expect(chiSquared).toBeLessThan(370)
})

test('unit is in [0, 1) and bell has mean 0 and deviation 1', () => {
  const lanes = new Uint32Array(4)
  let [sum, squares, outside] = [0, 0, 0]
  for (let k = 0; k < 100_000; k++) {
    mix(lanes, 7, 0, k, 3)
    if (!(unit(lanes[0]) >= 0 && unit(lanes[0]) < 1)) outside++
    sum += bell(lanes[1])
    squares += bell(lanes[1]) ** 2
  }
  expect(outside).toBe(0)
  expect(Math.abs(sum / 100_000)).toBeLessThan(0.015)
  expect(Math.abs(squares / 100_000 - 1)).toBeLessThan(0.03)
  expect(unit(-1)).toBe((2 ** 32 - 1) / 2 ** 32)
})
