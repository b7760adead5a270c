/**
 * Reads DS18B20 temperature sensors on a 1-Wire bus (kernel: w1_therm), in degC.
 * A reading counts only with its checksum. The sensor's power-on value, 85 degC, is what it shows when its supply broke down before
 * it had measured: it is refused unless the sensor was about as hot just before.
 */
import { join } from 'node:path'
import type { Profile } from '@tidemark/protocol'
import type { Scaling } from './mapping.js'
import { perMetricSource } from './per-metric-source.js'
import type { LiveSource } from './source.js'
import { readAttribute } from './sysfs.js'

export interface W1Config {
  readonly root: string
  /** `sensor`: its 64-bit ID as the kernel writes it, like `28-00000a1b2c3d`. */
  readonly metrics: Readonly<Record<string, Scaling & { readonly sensor: string }>>
}

/** degC */
const POWER_ON = 85
/** Byte 6 of the scratchpad before the first measurement (DS18B20 data sheet, "Memory"); of a measured 85 degC it is 0x10. */
const POWER_ON_COUNT_REMAIN = 0x0c
/** How near the last temperature must be for 85 degC to be believed, in degC. */
const BELIEVED_NEAR = 5

export function openW1({ root, metrics }: W1Config, profile: Profile): LiveSource {
  const folder = join(root, 'sys/bus/w1/devices')
  const last = new Map<string, number>()
  return perMetricSource({
    type: 'w1',
    profile,
    mappings: metrics,
    read: async ({ sensor }) => {
      const degC = parseSlave(await readAttribute(join(folder, sensor, 'w1_slave')), last.get(sensor) ?? null)
      last.set(sensor, degC)
      return degC
    }
  })
}

/** The temperature in the text of a `w1_slave` file. Throws with the reason where it is not to be believed. `last`: degC before it. */
export function parseSlave(text: string, last: number | null): number {
  const [first = '', second = ''] = text.split('\n')
  const bytes = Buffer.from(first.slice(0, 26).replaceAll(' ', ''), 'hex')
  if (bytes.length !== 9 || !first.trimEnd().endsWith('YES') || crc8(bytes) !== 0 || bytes.every(byte => byte === 0))
    throw new Error('the checksum is wrong: check wiring and pull-up resistor')
  const match = /\bt=(-?\d+)\s*$/.exec(second)
  if (match === null) throw new Error('the sensor gives no temperature')
  const degC = Number(match[1]) / 1000
  const wasNear = last !== null && Math.abs(last - POWER_ON) <= BELIEVED_NEAR
  if (degC === POWER_ON && (bytes[6] === POWER_ON_COUNT_REMAIN || !wasNear))
    throw new Error('85 degC is what the sensor shows before it has measured: check its power supply')
  return degC
}

/** The Dallas/Maxim CRC-8 (x^8 + x^5 + x^4 + 1); 0 over bytes that end with their own checksum. */
function crc8(bytes: Uint8Array): number {
  let crc = 0
  for (const byte of bytes) {
    crc ^= byte
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >> 1) ^ 0x8c : crc >> 1
  }
  return crc
}
