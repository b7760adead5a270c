/** Reads the kernel's thermal zones (Documentation/driver-api/thermal/sysfs-api), in degC. */
import { join } from 'node:path'
import type { Profile } from '@tidemark/protocol'
import type { Scaling } from './mapping.js'
import { perMetricSource } from './per-metric-source.js'
import type { LiveSource } from './source.js'
import { findDevice, readNumber } from './sysfs.js'

export interface ThermalConfig {
  readonly root: string
  /** `zone`: its type (`cpu-thermal`) or folder (`thermal_zone0`). */
  readonly metrics: Readonly<Record<string, Scaling & { readonly zone: string }>>
}

export function openThermal({ root, metrics }: ThermalConfig, profile: Profile): LiveSource {
  const folder = join(root, 'sys/class/thermal')
  return perMetricSource({
    type: 'thermal',
    profile,
    mappings: metrics,
    read: async ({ zone }) => (await readNumber(join(await findDevice(folder, zone, 'type'), 'temp'))) / 1000
  })
}
