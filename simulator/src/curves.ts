/**
 * The two curves that the physics is made of, from the four basic operations alone. Math.sin and Math.exp may differ in the last bit
 * from one JavaScript engine to the next; these cannot, so a run and its verification agree whatever Node they run on.
 */

const TURN = 2 * Math.PI

/** The sine of an angle in turns: sine(0.25) is 1. Off by at most 1e-7: a Taylor polynomial on a quarter turn to either side. */
export function sine(turns: number): number {
  let r = turns - Math.floor(turns + 0.5)
  if (r > 0.25) r = 0.5 - r
  else if (r < -0.25) r = -0.5 - r
  const a = r * TURN
  const s = a * a
  return a * (1 - (s / 6) * (1 - (s / 20) * (1 - (s / 42) * (1 - (s / 72) * (1 - s / 110)))))
}

/** The cosine of an angle in turns. */
export function cosine(turns: number): number {
  return sine(turns + 0.25)
}

/** exp(-x) for x >= 0, off by less than 0.0003: the cubic Taylor polynomial of exp(x / 8), inverted and squared three times. */
export function decay(x: number): number {
  const y = x / 8
  const eighth = 1 / (1 + y * (1 + (y / 2) * (1 + y / 3)))
  const quarter = eighth * eighth
  const half = quarter * quarter
  return half * half
}
