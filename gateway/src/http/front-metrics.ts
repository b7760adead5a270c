/** The metrics of the fronts: the sums of all under names without labels, and what each process uses by front. */
import { Counter, Gauge, Histogram, type Registry } from 'prom-client'
import type { FrontRow, Fronts } from '../front/fronts.js'
import { type FrontStats, PUBACK_BOUNDS_S, sumOf } from '../front/stats.js'

/** `http`: what came as batches over HTTP, which counts as published. */
export function addFrontMetrics(registry: Registry, fronts: Fronts, http: FrontStats): void {
  const total = () => sumOf([fronts.stats(), http])
  const registers = [registry]
  registry.registerMetric(new PubackHistogram(fronts))
  new Gauge({
    name: 'tidemark_connections',
    help: 'MQTT connections.',
    registers,
    collect() {
      this.set(fronts.stats().connections)
    }
  })
  const counter = (name: string, help: string, read: () => number) => {
    new Counter({
      name: `tidemark_${name}`,
      help,
      registers,
      collect() {
        this.reset()
        this.inc(read())
      }
    })
  }
  counter('published_total', 'Publishes that the fronts have taken.', () => total().published)
  counter('acked_total', 'Publishes that are durable in the log.', () => total().acked)
  counter('front_restarts_total', "Fronts' processes started again.", () => fronts.restarts)
  new Counter({
    name: 'tidemark_publishes_refused_total',
    help: 'Publishes and connections that the front has refused, by refusal.',
    labelNames: ['refusal'],
    registers,
    collect() {
      this.reset()
      for (const [refusal, count] of Object.entries(total().refused)) this.inc({ refusal }, count)
    }
  })
  const byFront = (name: string, help: string, read: (row: FrontRow) => number | undefined) => {
    new Gauge({
      name: `tidemark_front_${name}`,
      help,
      labelNames: ['front'],
      registers,
      collect() {
        this.reset()
        for (const row of fronts.rows()) {
          const value = read(row)
          if (value !== undefined) this.set({ front: String(row.front) }, value)
        }
      }
    })
  }
  byFront('connections', 'MQTT connections of a front.', ({ stats }) => stats.connections)
  byFront('light_sessions', 'Of them: served by light sessions.', ({ stats }) => stats.lightSessions)
  byFront('acked', 'Publishes of a front that are durable, since its process started.', ({ stats }) => stats.acked)
  byFront('resident_bytes', "Memory of a front's process of its own.", ({ usage }) => usage?.residentBytes)
  byFront('cpu_seconds', "Processor time of a front's process of its own.", ({ usage }) => usage?.cpuSeconds)
  byFront(
    'event_loop_delay_p99_seconds',
    "Event loop delay of a front's process of its own in the last second.",
    ({ usage }) => usage?.loopDelaySeconds
  )
}

const NAME = 'tidemark_puback_seconds'

/** Shows the counts that the fronts have made, instead of counting itself. */
class PubackHistogram extends Histogram {
  constructor(private readonly fronts: Fronts) {
    super({
      name: NAME,
      help: 'From the arrival of a publish at the front to its PUBACK; the fsync of the log lies between.',
      buckets: [...PUBACK_BOUNDS_S],
      registers: []
    })
  }

  override async get(): ReturnType<Histogram['get']> {
    const { pubacks, pubackSeconds } = this.fronts.stats()
    let count = 0
    const buckets = pubacks.map((inBucket, i) => {
      count += inBucket
      return { labels: { le: PUBACK_BOUNDS_S[i] ?? '+Inf' }, value: count, metricName: `${NAME}_bucket` }
    })
    const values = [
      ...buckets,
      { labels: {}, value: pubackSeconds, metricName: `${NAME}_sum` },
      { labels: {}, value: count, metricName: `${NAME}_count` }
    ]
    return { ...(await super.get()), values }
  }
}
