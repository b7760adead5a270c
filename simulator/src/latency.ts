/** A histogram of latencies: HDR, so that the tail is as exact as the middle, in bounded memory; those of processes can be added up. */
import { build, decodeFromCompressedBase64, encodeIntoCompressedBase64 } from 'hdr-histogram-js'
import { LATENCY_US_MAX } from './limits.js'

/** Latencies in ms that a share of all stayed below; 0 where none was recorded. */
export interface Quantiles {
  readonly p50: number
  readonly p99: number
  readonly p999: number
}

export const NO_QUANTILES: Quantiles = { p50: 0, p99: 0, p999: 0 }

export class Latency {
  private readonly histogram = build({ autoResize: false, highestTrackableValue: LATENCY_US_MAX, numberOfSignificantValueDigits: 3 })

  get count(): number {
    return this.histogram.totalCount
  }

  record(ms: number): void {
    this.histogram.recordValue(Math.min(LATENCY_US_MAX, Math.max(0, Math.round(ms * 1000))))
  }

  add(other: Latency): void {
    if (other.count > 0) this.histogram.add(other.histogram)
  }

  reset(): void {
    this.histogram.reset()
  }

  /** For another process: text that `addEncoded` takes there; '' where nothing was recorded. */
  encode(): string {
    return this.count === 0 ? '' : encodeIntoCompressedBase64(this.histogram)
  }

  addEncoded(text: string): void {
    if (text !== '') this.histogram.add(decodeFromCompressedBase64(text, 32, false))
  }

  quantiles(): Quantiles {
    if (this.count === 0) return NO_QUANTILES
    const at = (percentile: number) => Math.round(this.histogram.getValueAtPercentile(percentile) / 10) / 100
    return { p50: at(50), p99: at(99), p999: at(99.9) }
  }
}
