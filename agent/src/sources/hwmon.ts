/** Reads the kernel's hardware monitors (Documentation/hwmon/sysfs-interface): temperatures, fans, voltages, currents, powers. */
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { Profile } from '@tidemark/protocol'
import type { Scaling } from './mapping.js'
import { perMetricSource } from './per-metric-source.js'
import type { LiveSource } from './source.js'
import { findDevice, readAttribute, readNumber } from './sysfs.js'

export interface HwmonConfig {
  readonly root: string
  /** `chip`: its name (`coretemp`) or folder (`hwmon0`). `input`: `temp1`, `fan2`, `in0`, …, or the label that the driver gives it. */
  readonly metrics: Readonly<Record<string, Scaling & { readonly chip: string; readonly input: string }>>
}

/** The kernel's units over those that people use: degC, rpm, V, A, W, J, %, Hz. */
const UNITS: Readonly<Record<string, number>> = {
  temp: 1000,
  fan: 1,
  in: 1000,
  curr: 1000,
  power: 1_000_000,
  energy: 1_000_000,
  humidity: 1000,
  freq: 1
}

/** What an input is called, without what the driver has appended to it (`temp1_max`). */
export const HWMON_INPUT = /^(temp|fan|in|curr|power|energy|humidity|freq)\d+$/

export function openHwmon({ root, metrics }: HwmonConfig, profile: Profile): LiveSource {
  const folder = join(root, 'sys/class/hwmon')
  return perMetricSource({
    type: 'hwmon',
    profile,
    mappings: metrics,
    read: async ({ chip, input }) => {
      const device = await findDevice(folder, chip, 'name')
      const channel = HWMON_INPUT.test(input) ? input : await labelled(device, input)
      return (await readNumber(join(device, `${channel}_input`))) / UNITS[channel.replace(/\d+$/, '')]
    }
  })
}

async function labelled(device: string, label: string): Promise<string> {
  const labels: string[] = []
  for (const file of (await readdir(device)).filter(name => name.endsWith('_label')).sort()) {
    const channel = file.slice(0, -'_label'.length)
    const text = await readAttribute(join(device, file)).catch(() => '')
    if (text === label && HWMON_INPUT.test(channel)) return channel
    labels.push(text)
  }
  throw new Error(`${device} has no input "${label}"${labels.length === 0 ? '' : `; there are: ${labels.join(', ')}`}`)
}
