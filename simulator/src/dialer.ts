/**
 * Decides which device dials when: new connections at a limited rate, a limited number at a time, and after a failure with full-jitter
 * backoff (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/). Until the first connection stands, one device
 * tries alone: if the broker is not there, that is told once. It owns no sockets and reads no clock.
 */
import { BACKOFF_MS_MAX, BACKOFF_MS_MIN, CONNECTING_MAX } from './limits.js'
import { mix, STREAM, unit } from './prng.js'
import { Wheel } from './wheel.js'

const CLOSED = 0
const CONNECTING = 1
const OPEN = 2

export class Dialer {
  /** How many connections are open. */
  open = 0
  hasEverOpened = false
  private readonly states: Uint8Array
  /** Failures since the broker last acked something. */
  private readonly failures: Uint8Array
  private readonly wheel: Wheel
  /** Devices that may dial as soon as the rate allows; those from `fresh` on have never dialled. */
  private waiting: number[] = []
  private fresh = 0
  private connecting = 0
  private allowance = 0

  /** `perS`: new connections a second. `nowMs` here and below: any monotonic clock's. */
  constructor(
    private readonly devices: number,
    private readonly perS: number,
    private readonly seed: number,
    private nowMs: number
  ) {
    this.states = new Uint8Array(devices)
    this.failures = new Uint8Array(devices)
    this.wheel = new Wheel(nowMs)
  }

  /** Dials what is due; `dial` returns whether it did. */
  advance(nowMs: number, dial: (device: number) => boolean): void {
    this.allowance = Math.min(CONNECTING_MAX, this.allowance + ((nowMs - this.nowMs) * this.perS) / 1000)
    this.nowMs = nowMs
    this.wheel.advance(nowMs, device => this.waiting.push(device))
    const most = this.hasEverOpened ? CONNECTING_MAX : 1
    let next = 0
    while (this.allowance >= 1 && this.connecting < most && (next < this.waiting.length || this.fresh < this.devices)) {
      const device = next < this.waiting.length ? this.waiting[next++] : this.fresh++
      if (!dial(device)) continue
      this.states[device] = CONNECTING
      this.connecting++
      this.allowance--
    }
    if (next > 0) this.waiting = this.waiting.slice(next)
  }

  /** Has a device dial that `dial` would not take before. */
  admit(device: number): void {
    this.waiting.push(device)
  }

  opened(device: number): void {
    this.leave(device)
    this.states[device] = OPEN
    this.open++
    this.hasEverOpened = true
  }

  /** The connection works: the next failure is a first one again. */
  proved(device: number): void {
    this.failures[device] = 0
  }

  /** Returns whether the connection was open before. */
  closed(device: number): boolean {
    const wasOpen = this.states[device] === OPEN
    this.leave(device)
    this.states[device] = CLOSED
    return wasOpen
  }

  /** Has the device dial again, later with each failure. */
  retry(device: number): void {
    const failures = Math.min(30, this.failures[device] + 1)
    this.failures[device] = failures
    const lanes = new Uint32Array(4)
    mix(lanes, this.seed, device, failures, STREAM.backoff)
    const delayMs = unit(lanes[0]) * Math.min(BACKOFF_MS_MAX, BACKOFF_MS_MIN * 2 ** (failures - 1))
    this.wheel.add(device, this.nowMs + delayMs)
  }

  private leave(device: number): void {
    if (this.states[device] === CONNECTING) this.connecting--
    else if (this.states[device] === OPEN) this.open--
  }
}
