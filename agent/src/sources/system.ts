/**
 * Measures the machine it runs on: processor, memory, load, disk, temperatures. What the machine does not tell is null.
 */
import type { Value } from '@tidemark/protocol'
import { monotonicMs } from '../monotonic.js'
import { waitUntil } from './pace.js'
import type { LiveSource, Measured } from './source.js'
import { type CpuTimes, cpuTimes, cpuUsed, diskUsed, loadAverage, memory, temperatures, uptimeSeconds } from './system-sensors.js'

export interface SystemConfig {
  /** The folder that holds proc/ and sys/; `/` on a real machine. */
  readonly root: string
  /** A path on the file system whose use is measured. */
  readonly disk: string
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

/** @param metrics those that it is to give */
export function openSystem(config: SystemConfig, metrics: readonly string[]): LiveSource {
  let before: CpuTimes | null = null
  return {
    key: 'system',
    metrics,
    async measure(signal) {
      if (before === null) {
        before = await cpuTimes(config.root)
        await waitUntil(monotonicMs() + FIRST_CPU_MS, signal)
      }
      const now = await cpuTimes(config.root)
      const values = await measure(config)
      values.set('cpu_used', cpuUsed(before, now))
      before = now
      return { values, problems: [] } satisfies Measured
    },
    close: async () => {}
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
