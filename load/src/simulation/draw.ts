/** Seeded choices. Each part of a simulation draws from a stream of its own, so that a change of one does not shift the others. */
import { drawsOf } from '@tidemark/simulator/prng'

/** What is drawn for; behind the streams of the simulator itself. */
export const STREAM = { scenario: 101, network: 102, log: 103, archive: 104, gateway: 105, agent: 106, json: 107, poison: 108 } as const

export class Draw {
  private readonly next: () => number

  constructor(seed: number, stream: number, device = 0) {
    this.next = drawsOf(seed, device, stream)
  }

  /** In [0, 1). */
  unit(): number {
    return this.next()
  }

  chance(probability: number): boolean {
    return this.next() < probability
  }

  /** A whole number in [min, max]. */
  between(min: number, max: number): number {
    return min + Math.floor(this.next() * (max - min + 1))
  }

  pick<T>(choices: readonly T[]): T {
    return choices[Math.floor(this.next() * choices.length)]
  }

  bytes(count: number): Uint8Array {
    return Uint8Array.from({ length: count }, () => this.between(0, 255))
  }
}
