/**
 * Measures the machine it runs on: processor, memory, load, disk, temperatures. What the machine does not tell is null.
 */
import type { Profile, Value } from '@tidemark/protocol'
import { moments, waitUntil } from './pace.js'
import type { Source, SourceGroup } from './source.js'
import { cpuTimes, cpuUsed, diskUsed, loadAverage, memory, temperatures, uptimeSeconds } from './system-sensors.js'

export interface SystemConfig {
  readonly intervalMs: number
  /** The folder that holds proc/ and sys/; `/` on a real machine. */
  readonly root: string
  /** A path on the file system whose use is measured. */
  readonly disk: string
  /** End after the first reading. */
  readonly once: boolean
}

/** The metrics that this source can give. */
export const SYSTEM_METRICS: readonly string[] = [
  'cpu_used',
  'memory_used',
  'load_1m',
  'swap_used',
  'disk_used',
  'cpu_temperature',
  'board_temperature',
  'uptime'
]

/** The use of the processor is measured over the time since the last reading; before the first one, over this, in ms. */
const FIRST_CPU_MS = 250

export function openSystem(config: SystemConfig, profile: Profile): Source {
  return { live: true, key: 'system', groups: (_, signal) => sample(config, profile, signal) }
}

async function* sample(config: SystemConfig, profile: Profile, signal: AbortSignal): AsyncGenerator<SourceGroup> {
  let before = await cpuTimes(config.root)
  if (!(await waitUntil(performance.now() + FIRST_CPU_MS, signal))) return
  for await (const _ of moments(config.intervalMs, signal)) {
    const now = await cpuTimes(config.root)
    const measured = await measure(config)
    measured.set('cpu_used', cpuUsed(before, now))
    before = now
    const values = profile.metrics.map(metric => measured.get(metric.name) ?? null)
    yield { entries: [{ eventTimeMs: null, values }], position: null, nulledValues: 0, problems: [] }
    if (config.once) return
  }
}

async function measure({ root, disk }: SystemConfig): Promise<Map<string, Value>> {
  const { used, swapUsed } = await memory(root)
  const { cpu, board } = await temperatures(root)
  return new Map<string, Value>([
    ['memory_used', used],
    ['swap_used', swapUsed],
    ['load_1m', await loadAverage(root)],
    ['disk_used', await diskUsed(disk)],
    ['cpu_temperature', cpu],
    ['board_temperature', board],
    ['uptime', await uptimeSeconds(root)]
  ])
}
