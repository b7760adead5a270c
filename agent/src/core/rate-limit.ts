import type { Rate } from '@tidemark/protocol'

interface Bucket {
  readonly rate: Rate
  readonly batchReadingsMin: number
  tokens: number
  atMs: number
}

/**
 * How fast batches may go out. Pure: the clock is passed in.
 * A token bucket for each rate that is set. It holds a second's worth; a batch is sent whole when anything is left, and what it
 * takes beyond that is a debt that the next one waits for: so the mean is kept whatever the batches' size.
 */
export class RateLimit {
  private readonly buckets = new Map<string, Bucket>()

  /**
   * Sets or lifts (null) the rate that goes by a name; all of them hold at once. What is owed by that name is still owed.
   * @param batchReadingsMin readings that a batch may have however low the rate
   */
  set(name: string, rate: Rate | null, nowMs: number, batchReadingsMin = 1): void {
    const before = this.buckets.get(name)
    this.buckets.delete(name)
    if (rate === null) return
    const tokens = before?.rate.unit === rate.unit ? Math.min(before.tokens, rate.perSecond) : rate.perSecond
    this.buckets.set(name, { rate, tokens, atMs: nowMs, batchReadingsMin })
  }

  /** How long to wait before the next batch, in ms; 0: it may go out now. */
  waitMs(nowMs: number): number {
    let waitMs = 0
    for (const bucket of this.buckets.values()) {
      const { perSecond } = bucket.rate
      bucket.tokens = Math.min(perSecond, bucket.tokens + (Math.max(0, nowMs - bucket.atMs) / 1000) * perSecond)
      bucket.atMs = nowMs
      // Less than one token left is a debt too: a rate is never exceeded by readings that come one by one.
      if (bucket.tokens < 1) waitMs = Math.max(waitMs, Math.ceil(((1 - bucket.tokens) / perSecond) * 1000))
    }
    return waitMs
  }

  spend(readings: number, bytes: number): void {
    for (const bucket of this.buckets.values()) bucket.tokens -= bucket.rate.unit === 'readings' ? readings : bytes
  }

  /** Most readings of a batch, at least 1: more than a second's worth would block the link for longer, which a rate may allow. */
  get batchReadingsMax(): number {
    let max = Number.POSITIVE_INFINITY
    for (const { rate, batchReadingsMin } of this.buckets.values()) {
      if (rate.unit === 'readings') max = Math.min(max, Math.max(batchReadingsMin, rate.perSecond))
    }
    return Math.max(1, Math.floor(max))
  }

  /** Most bytes of a batch that holds more than one reading. */
  get batchBytesMax(): number {
    let max = Number.POSITIVE_INFINITY
    for (const { rate } of this.buckets.values()) if (rate.unit === 'bytes') max = Math.min(max, rate.perSecond)
    return max
  }
}
