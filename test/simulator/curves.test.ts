import { expect, test } from 'vitest'
import { cosine, decay, sine } from '../../simulator/src/curves.js'

test('sine and cosine follow the true ones over many turns', () => {
  for (let turns = -3; turns < 3; turns += 0.0007) {
    expect(Math.abs(sine(turns) - Math.sin(turns * 2 * Math.PI))).toBeLessThan(1e-7)
    expect(Math.abs(cosine(turns) - Math.cos(turns * 2 * Math.PI))).toBeLessThan(1e-7)
  }
})

test('decay follows the exponential and never rises', () => {
  for (let x = 0; x < 50; x += 0.01) {
    expect(Math.abs(decay(x) - Math.exp(-x))).toBeLessThan(0.0003)
    expect(decay(x + 0.01)).toBeLessThan(decay(x))
  }
  expect(decay(0)).toBe(1)
})
