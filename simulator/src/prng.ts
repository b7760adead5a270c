/**
 * Counter-based pseudorandom numbers: each is a hash of (seed, device, counter, stream), so any of them can be had at once, in any
 * order, with no state to carry. Integer arithmetic only: the same on every machine and every version of Node.
 */

/** What a number is drawn for. Streams are independent of each other. */
export const STREAM = {
  machine: 1,
  life: 2,
  noise: 3,
  moreNoise: 4,
  fault: 5,
  faultSize: 6,
  epoch: 7,
  backoff: 8,
  outage: 9,
  disconnect: 10,
  delay: 11,
  silence: 12,
  skew: 13
} as const

/**
 * Mixes four 32-bit numbers into four others: `pcg4d` of Mark Jarzynski and Marc Olano, "Hash Functions for GPU Rendering",
 * Journal of Computer Graphics Techniques 9(3), 2020, https://jcgt.org/published/0009/03/02/.
 */
export function mix(into: Uint32Array, seed: number, device: number, counter: number, stream: number): void {
  let x = (Math.imul(seed, 1664525) + 1013904223) | 0
  let y = (Math.imul(device, 1664525) + 1013904223) | 0
  let z = (Math.imul(counter, 1664525) + 1013904223) | 0
  let w = (Math.imul(stream, 1664525) + 1013904223) | 0
  x = (x + Math.imul(y, w)) | 0
  y = (y + Math.imul(z, x)) | 0
  z = (z + Math.imul(x, y)) | 0
  w = (w + Math.imul(y, z)) | 0
  x ^= x >>> 16
  y ^= y >>> 16
  z ^= z >>> 16
  w ^= w >>> 16
  x = (x + Math.imul(y, w)) | 0
  y = (y + Math.imul(z, x)) | 0
  z = (z + Math.imul(x, y)) | 0
  w = (w + Math.imul(y, z)) | 0
  into[0] = x
  into[1] = y
  into[2] = z
  into[3] = w
}

/** A number in [0, 1) from 32 random bits. */
export function unit(bits: number): number {
  return (bits >>> 0) / 4294967296
}

/** A bell-shaped number of mean 0 and deviation 1, within 3.46, from 32 random bits: the sum of their four bytes. */
export function bell(bits: number): number {
  const sum = (bits & 255) + ((bits >>> 8) & 255) + ((bits >>> 16) & 255) + (bits >>> 24)
  return (sum - 510) / 147.802
}

/** Numbers in [0, 1) of one device and stream, one after the other. */
export function drawsOf(seed: number, device: number, stream: number): () => number {
  const lanes = new Uint32Array(4)
  let next = 0
  return () => {
    if (next % 4 === 0) mix(lanes, seed, device, next / 4, stream)
    return unit(lanes[next++ % 4])
  }
}
