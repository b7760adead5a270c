/** A live source that reads one value a metric, each by itself: one that cannot be read is null and spoils no other. */
import type { Profile } from '@tidemark/protocol'
import { Measurement, mappedMetrics, messageOf, type Scaling } from './mapping.js'
import type { LiveSource } from './source.js'

export interface PerMetricOptions<T extends Scaling> {
  readonly type: string
  readonly profile: Profile
  /** Metric to what it is read from. */
  readonly mappings: Readonly<Record<string, T>>
  /** The raw value. Rejects with the reason where there is none. */
  readonly read: (mapping: T) => Promise<number>
}

export function perMetricSource<T extends Scaling>({ type, profile, mappings, read }: PerMetricOptions<T>): LiveSource {
  const metrics = mappedMetrics(type, profile, Object.keys(mappings))
  return {
    key: type,
    metrics: [...metrics.keys()],
    async measure(signal) {
      const measurement = new Measurement(metrics)
      for (const [name, mapping] of Object.entries(mappings)) {
        if (signal.aborted) break
        try {
          measurement.put(name, await read(mapping), mapping)
        } catch (error) {
          measurement.fail(name, messageOf(error))
        }
      }
      return measurement.done()
    },
    close: async () => {}
  }
}
