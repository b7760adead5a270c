import { describe, expect, test } from 'vitest'
import { Dialer } from '../../simulator/src/dialer.js'
import { BACKOFF_MS_MAX, CONNECTING_MAX } from '../../simulator/src/limits.js'

function dialled(dialer: Dialer, nowMs: number): number[] {
  const devices: number[] = []
  dialer.advance(nowMs, device => devices.push(device) > 0)
  return devices
}

describe('the dialer', () => {
  test('tries one device alone until a connection stands, then the others at their rate', () => {
    const dialer = new Dialer(1000, 100, 1, 0)
    expect(dialled(dialer, 1000)).toEqual([0])
    expect(dialled(dialer, 2000)).toEqual([])
    dialer.opened(0)
    expect(dialled(dialer, 2000).length).toBe(199)
    expect(dialled(dialer, 2100).length).toBe(10)
    expect(dialer.open).toBe(1)
  })

  test('has no more connections on their way up than a listen backlog takes', () => {
    const dialer = new Dialer(1000, 100_000, 1, 0)
    dialled(dialer, 1000)
    dialer.opened(0)
    expect(dialled(dialer, 2000).length).toBe(CONNECTING_MAX)
    expect(dialled(dialer, 3000)).toEqual([])
    dialer.closed(7)
    expect(dialled(dialer, 4000).length).toBe(1)
  })

  test('waits ever longer between failures, up to a limit, and begins anew once the connection works', () => {
    const dialer = new Dialer(1, 1000, 1, 0)
    let nowMs = 10
    const waitMs = () => {
      dialer.closed(0)
      dialer.retry(0)
      const from = nowMs
      while (dialled(dialer, nowMs).length === 0) nowMs += 10
      return nowMs - from
    }
    dialled(dialer, nowMs)
    dialer.opened(0)
    const waits = Array.from({ length: 40 }, waitMs)
    expect(waits[0]).toBeLessThanOrEqual(600)
    expect(Math.max(...waits.slice(8))).toBeGreaterThan(5000)
    expect(Math.max(...waits)).toBeLessThanOrEqual(BACKOFF_MS_MAX + 100)
    dialer.opened(0)
    dialer.proved(0)
    expect(waitMs()).toBeLessThanOrEqual(600)
  })
})
