/** The gateway's metrics in Prometheus' text format. Names and labels are bounded by the code, never by what devices send. */
import { Counter, collectDefaultMetrics, Gauge, Registry } from 'prom-client'
import type { Fronts } from '../front/fronts.js'
import type { HttpAdmissions } from '../front/http-admission.js'
import type { LogClient } from '../log/log-client.js'
import type { MaintenanceClient } from '../maintenance/maintenance-client.js'
import type { PipelineClient } from '../pipeline/pipeline-client.js'
import { addFrontMetrics } from './front-metrics.js'

export interface Measured {
  readonly fronts: Fronts
  /** Batches over HTTP. */
  readonly admissions: HttpAdmissions
  readonly log: LogClient
  readonly pipeline: PipelineClient
  readonly maintenance: MaintenanceClient
}

export interface Metrics {
  readonly registry: Registry
}

/** Of prom-client's own: what it makes of a list of all that is open, each socket, at each scrape. */
const LISTS = ['handles', 'requests', 'resources'].flatMap(name => [`nodejs_active_${name}`, `nodejs_active_${name}_total`])

export function createMetrics({ fronts, admissions, log, pipeline, maintenance }: Measured): Metrics {
  const registry = new Registry()
  collectDefaultMetrics({ register: registry })
  for (const name of LISTS) registry.removeSingleMetric(name)
  addFrontMetrics(registry, fronts, admissions.stats)
  const gauge = (name: string, help: string, read: () => number) => {
    new Gauge({
      name: `tidemark_${name}`,
      help,
      registers: [registry],
      collect() {
        this.set(read())
      }
    })
  }
  const counter = (name: string, help: string, read: () => number) => {
    new Counter({
      name: `tidemark_${name}`,
      help,
      registers: [registry],
      collect() {
        this.reset()
        this.inc(read())
      }
    })
  }
  const processor = () => pipeline.stats?.processor
  counter('log_entries_total', 'Group commits of the log.', () => log.appendedWaves)
  counter('log_bytes_total', 'Bytes of frames appended to the log.', () => log.appendedBytes)
  counter('log_refused_total', 'Group commits that the disk refused.', () => log.refusedWaves)
  gauge('log_last_entry', 'The last durable entry.', () => log.lastEntry)
  gauge('processed_entry', 'The last entry that the processor has applied.', () => processor()?.entry ?? 0)
  gauge('committed_entry', 'The last entry whose flush is committed.', () => pipeline.stats?.committedEntry ?? 0)
  gauge('devices', 'Devices known.', () => processor()?.devices ?? 0)
  gauge('idle_devices', 'Devices silent for longer than the idle timeout.', () => processor()?.idleDevices ?? 0)
  gauge(
    'fleet_watermark_seconds',
    'The least watermark of devices that are neither idle nor retired, Unix time.',
    () => (processor()?.fleetWatermarkMs ?? 0) / 1000
  )
  counter('readings_archived_total', 'Readings archived.', () => processor()?.archived ?? 0)
  counter('readings_late_total', 'Of them: late.', () => processor()?.late ?? 0)
  counter('readings_duplicate_total', 'Readings dropped: seen before.', () => processor()?.duplicates ?? 0)
  counter('readings_shed_total', 'Readings that devices have declared dropped.', () => processor()?.shed ?? 0)
  counter('quarantine_resolved_total', 'Quarantined rows that a requeue has given another fate.', () => processor()?.resolved ?? 0)
  counter(
    'requeues_stale_total',
    'Requeued messages not looked at: the run had not seen an earlier one.',
    () => processor()?.staleRequeues ?? 0
  )
  counter('feature_rows_total', 'Feature rows, since this process started.', () => processor()?.featureRows ?? 0)
  counter('feature_corrections_total', 'Of them: with a revision above 0.', () => processor()?.featureCorrections ?? 0)
  gauge('rows_waiting', 'Rows that no file holds yet.', () => processor()?.rowsWaiting ?? 0)
  counter('flushes_total', 'Flushes committed since this process started.', () => pipeline.stats?.flushes ?? 0)
  counter('files_total', 'Parquet files written since this process started.', () => pipeline.stats?.files ?? 0)
  counter('file_bytes_total', 'Bytes of Parquet written since this process started.', () => pipeline.stats?.fileBytes ?? 0)
  counter('compactions_total', 'Compactions committed since this process started.', () => maintenance.stats?.compactions ?? 0)
  counter('compaction_files_before_total', 'Files that they have merged.', () => maintenance.stats?.filesBefore ?? 0)
  counter('compaction_files_after_total', 'Files that they have made.', () => maintenance.stats?.filesAfter ?? 0)
  counter('compaction_bytes_before_total', 'Bytes that they have merged.', () => maintenance.stats?.bytesBefore ?? 0)
  counter('compaction_bytes_after_total', 'Bytes that they have made of them.', () => maintenance.stats?.bytesAfter ?? 0)
  counter('retention_files_total', 'Files that retention has taken out of the archive.', () => maintenance.stats?.expiredFiles ?? 0)
  counter('retention_rows_total', 'Their rows.', () => maintenance.stats?.expiredRows ?? 0)
  gauge('superseded_files', 'Superseded files that wait for their deletion.', () => maintenance.stats?.waiting ?? 0)
  counter('maintenance_passes_total', 'Passes of compaction and retention that have run.', () => maintenance.stats?.passes ?? 0)
  counter('maintenance_failures_total', 'Hours and passes that failed.', () => maintenance.stats?.failures ?? 0)
  const drain = () => pipeline.stats?.drain
  gauge(
    'drain_devices',
    'Devices in backlog: they have sampled more than drain.backlog readings that are yet to come.',
    () => drain()?.devices ?? 0
  )
  gauge('drain_granted_devices', 'Of them: those that may drain only so fast.', () => drain()?.granted ?? 0)
  gauge('drain_granted_rate', 'What they are granted together, readings a second.', () => drain()?.grantedPerSecond ?? 0)
  gauge(
    'drain_budget_rate',
    'What they share, readings a second: drain.max_rate, or less while the gateway is late.',
    () => drain()?.budgetPerSecond ?? 0
  )
  labelled(registry, 'readings_quarantined_total', 'Quarantined, by reason.', 'reason', () => processor()?.rejects ?? {})
  labelled(
    registry,
    'unknown_fields_total',
    'Fields that no profile names, by profile and field.',
    'field',
    () => processor()?.unknownFields ?? {}
  )
  return { registry }
}

function labelled(registry: Registry, name: string, help: string, label: string, read: () => Readonly<Record<string, number>>): void {
  new Counter({
    name: `tidemark_${name}`,
    help,
    labelNames: [label],
    registers: [registry],
    collect() {
      this.reset()
      for (const [value, count] of Object.entries(read())) this.inc({ [label]: value }, count)
    }
  })
}
