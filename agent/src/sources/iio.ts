/**
 * Reads sensors of the kernel's Industrial I/O subsystem (Documentation/ABI/testing/sysfs-bus-iio): (raw + offset) * scale, or what
 * the driver has computed itself (`_input`).
 */
import { join } from 'node:path'
import type { Profile } from '@tidemark/protocol'
import type { Scaling } from './mapping.js'
import { perMetricSource } from './per-metric-source.js'
import type { LiveSource } from './source.js'
import { findDevice, readNumber, readNumberIfThere } from './sysfs.js'

export interface IioConfig {
  readonly root: string
  /** `device`: its name (`bme280`) or folder (`iio:device0`). `channel`: `temp`, `humidityrelative`, `voltage0`, `accel_x`, … */
  readonly metrics: Readonly<Record<string, Scaling & { readonly device: string; readonly channel: string }>>
}

/** Channels that the kernel gives in thousandths of the unit that people use: degC, %, V, A, W. */
const IN_THOUSANDTHS = /^(temp|humidityrelative|voltage|altvoltage|current|power)/

export function openIio({ root, metrics }: IioConfig, profile: Profile): LiveSource {
  const folder = join(root, 'sys/bus/iio/devices')
  return perMetricSource({
    type: 'iio',
    profile,
    mappings: metrics,
    read: async ({ device, channel }) => {
      const value = await readChannel(await findDevice(folder, device, 'name'), channel)
      return IN_THOUSANDTHS.test(channel) ? value / 1000 : value
    }
  })
}

async function readChannel(device: string, channel: string): Promise<number> {
  const at = (attribute: string) => join(device, `in_${channel}_${attribute}`)
  const computed = await readNumberIfThere(at('input'))
  if (computed !== null) return computed
  const raw = await readNumber(at('raw'))
  const offset = await readShared(device, channel, 'offset')
  const scale = await readShared(device, channel, 'scale')
  return (raw + (offset ?? 0)) * (scale ?? 1)
}

/** `in_voltage0_scale`, or the one of all channels of the type: `in_voltage_scale`. */
async function readShared(device: string, channel: string, attribute: string): Promise<number | null> {
  const type = channel.replace(/(\d+|_.*)$/, '')
  return (await readNumberIfThere(join(device, `in_${channel}_${attribute}`))) ?? readNumberIfThere(join(device, `in_${type}_${attribute}`))
}
