/** A histogram of latencies: HDR, so that the tail is as exact as the middle, in bounded memory. */
import { build } from 'hdr-histogram-js'
import { LATENCY_US_MAX } from './limits.js'

/** Latencies in ms that a share of all stayed below; 0 where none was recorded. */
export interface Quantiles {
  readonly p50: number
  readonly p99: number
  readonly p999: number
}

export class Latency {
  private readonly histogram = build({ autoResize: false, highestTrackableValue: LATENCY_US_MAX, numberOfSignificantValueDigits: 3 })

  record(ms: number): void {
    this.histogram.recordValue(Math.min(LATENCY_US_MAX, Math.max(0, Math.round(ms * 1000))))
  }

  quantiles(): Quantiles {
    const at = (percentile: number) => Math.round(this.histogram.getValueAtPercentile(percentile) / 10) / 100
    return { p50: at(50), p99: at(99), p999: at(99.9) }
  }
}
