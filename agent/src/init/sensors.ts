/**
 * Finds the sensors that the kernel of this machine shows in sysfs, and asks each once, through the source that would read it.
 * What kernels do not announce (Modbus, HTTP, brokers, commands) cannot be found: that is written into the configuration by hand.
 */
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { profileSchema } from '@tidemark/protocol'
import { z } from 'zod'
import { HWMON_INPUT, openHwmon } from '../sources/hwmon.js'
import { openIio } from '../sources/iio.js'
import type { LiveSource } from '../sources/source.js'
import { liveSourceSchemas } from '../sources/source-schemas.js'
import { readAttribute } from '../sources/sysfs.js'
import { openThermal } from '../sources/thermal.js'
import { openW1 } from '../sources/w1.js'

export const SENSOR_KINDS = ['iio', 'w1', 'hwmon', 'thermal'] as const

export type SensorKind = (typeof SENSOR_KINDS)[number]

export interface Sensor {
  readonly kind: SensorKind
  /** Its name as a metric of a profile, unlike that of any other sensor. */
  readonly metric: string
  /** What the source wants to know: `{ device: 'bme280', channel: 'temp' }`. */
  readonly mapping: Readonly<Record<string, string>>
  readonly quantity: Quantity
  /** What it says now; null where it cannot be read. */
  readonly value: number | null
  /** Why it cannot be read; null where it can. */
  readonly problem: string | null
}

/** What is measured, as a profile states it. */
export interface Quantity {
  readonly unit: string
  /** 10^-k; null: the value travels to the bit. */
  readonly resolution: number | null
  readonly min?: number
  readonly max?: number
}

const TEMPERATURE: Quantity = { unit: 'degC', resolution: 0.01 }
const UNKNOWN: Quantity = { unit: '', resolution: null }

/** By the type of an IIO channel, in the units that the source gives (Documentation/ABI/testing/sysfs-bus-iio). */
const IIO_QUANTITIES: Readonly<Record<string, Quantity>> = {
  temp: TEMPERATURE,
  humidityrelative: { unit: '%', resolution: 0.01 },
  pressure: { unit: 'kPa', resolution: 0.0001 },
  voltage: { unit: 'V', resolution: 0.0001 },
  current: { unit: 'A', resolution: 0.0001 },
  power: { unit: 'W', resolution: 0.001 },
  accel: { unit: 'm/s^2', resolution: null },
  anglvel: { unit: 'rad/s', resolution: null },
  magn: { unit: 'Gauss', resolution: null },
  illuminance: { unit: 'lx', resolution: null },
  distance: { unit: 'm', resolution: null }
}

/** By the kind of an input of a hardware monitor (Documentation/hwmon/sysfs-interface). */
const HWMON_QUANTITIES: Readonly<Record<string, Quantity>> = {
  temp: TEMPERATURE,
  fan: { unit: '1/min', resolution: 1 },
  in: { unit: 'V', resolution: 0.001 },
  curr: { unit: 'A', resolution: 0.001 },
  power: { unit: 'W', resolution: 0.001 },
  energy: { unit: 'J', resolution: null },
  humidity: { unit: '%', resolution: 0.01 },
  freq: { unit: 'Hz', resolution: 1 }
}

/** DS18S20, DS1822, DS18B20, DS1825, DS28EA00: the families that the kernel's w1_therm reads. */
const W1_THERMOMETER = /^(10|22|28|3b|42)-[0-9a-f]{12}$/

/** A profile takes 256 metrics; some are left to the machine itself. */
const SENSORS_MAX = 240

/** How long all sensors of a kind may take to answer, in ms: a DS18B20 takes 750, one after the other. */
const MEASURE_MS_MAX = 15_000

interface Found {
  readonly name: string
  readonly mapping: Readonly<Record<string, string>>
  readonly quantity: Quantity
}

/** @param root the folder that holds sys/; `/` on a real machine */
export async function findSensors(root: string): Promise<Sensor[]> {
  const names = new Set<string>()
  const sensors: Sensor[] = []
  for (const kind of SENSOR_KINDS) {
    const found = (await FINDERS[kind](root))
      .slice(0, SENSORS_MAX - sensors.length)
      .map(sensor => ({ ...sensor, metric: metricName(sensor.name, names) }))
    if (found.length > 0) sensors.push(...(await ask(kind, root, found)))
  }
  return sensors
}

const FINDERS: Readonly<Record<SensorKind, (root: string) => Promise<Found[]>>> = { iio, w1, hwmon, thermal }

async function iio(root: string): Promise<Found[]> {
  const found: Found[] = []
  for (const { at, device } of await devices(join(root, 'sys/bus/iio/devices'), /^iio:device\d+$/, 'name')) {
    const channels = new Set((await names(at)).map(file => /^in_(.+)_(raw|input)$/.exec(file)?.[1]).filter(name => name !== undefined))
    for (const channel of channels) {
      const type = channel.replace(/(\d+|_.*)$/, '')
      found.push({
        name: `${device.label}_${channel}`,
        mapping: { device: device.key, channel },
        quantity: IIO_QUANTITIES[type] ?? UNKNOWN
      })
    }
  }
  return found
}

async function w1(root: string): Promise<Found[]> {
  const ids = (await names(join(root, 'sys/bus/w1/devices'))).filter(name => W1_THERMOMETER.test(name))
  const quantity = { ...TEMPERATURE, min: -55, max: 125 }
  return ids.map(sensor => ({ name: `w1_${sensor.slice(3)}_temperature`, mapping: { sensor }, quantity }))
}

async function hwmon(root: string): Promise<Found[]> {
  const found: Found[] = []
  for (const { at, device } of await devices(join(root, 'sys/class/hwmon'), /^hwmon\d+$/, 'name')) {
    const inputs = (await names(at)).map(file => /^(.+)_input$/.exec(file)?.[1]).filter(name => name !== undefined)
    for (const input of inputs.filter(name => HWMON_INPUT.test(name))) {
      const label = await readAttribute(join(at, `${input}_label`)).catch(() => '')
      const kind = input.replace(/\d+$/, '')
      found.push({
        name: `${device.label}_${label === '' ? input : `${label}_${kind}`}`,
        mapping: { chip: device.key, input },
        quantity: HWMON_QUANTITIES[kind] ?? UNKNOWN
      })
    }
  }
  return found
}

async function thermal(root: string): Promise<Found[]> {
  const zones = await devices(join(root, 'sys/class/thermal'), /^thermal_zone\d+$/, 'type')
  return zones.map(({ device }) => ({ name: `${device.label}_temperature`, mapping: { zone: device.key }, quantity: TEMPERATURE }))
}

/**
 * The devices of a class. `key` is what stays the same from boot to boot, the device's name, unless several have that: then it is
 * the folder.
 */
async function devices(
  folder: string,
  pattern: RegExp,
  nameFile: string
): Promise<{ at: string; device: { key: string; label: string } }[]> {
  const found: { entry: string; name: string }[] = []
  for (const entry of (await names(folder)).filter(name => pattern.test(name))) {
    const name = await readAttribute(join(folder, entry, nameFile)).catch(() => '')
    found.push({ entry, name })
  }
  return found.map(({ entry, name }) => {
    const isAlone = name !== '' && found.filter(other => other.name === name).length === 1
    return { at: join(folder, entry), device: { key: isAlone ? name : entry, label: name === '' ? entry : name } }
  })
}

/** Asks all sensors of a kind at once. */
async function ask(kind: SensorKind, root: string, found: readonly (Found & { metric: string })[]): Promise<Sensor[]> {
  const source = open(kind, root, found)
  const answer = await source.measure(AbortSignal.timeout(MEASURE_MS_MAX)).catch((error: Error) => error)
  await source.close()
  return found.map(({ metric, mapping, quantity }) => {
    if (answer instanceof Error) return { kind, metric, mapping, quantity, value: null, problem: answer.message }
    const value = answer.values.get(metric)
    if (typeof value === 'number') return { kind, metric, mapping, quantity, value, problem: null }
    const problem = answer.problems.find(line => line.startsWith(`${metric}: `))?.slice(metric.length + 2)
    return { kind, metric, mapping, quantity, value: null, problem: problem ?? 'it gives no value' }
  })
}

function open(kind: SensorKind, root: string, found: readonly (Found & { metric: string })[]): LiveSource {
  const profile = profileSchema.parse({
    name: 'probe',
    interval: '1s',
    metrics: found.map(({ metric }) => ({ name: metric }))
  })
  const metrics = Object.fromEntries(found.map(({ metric, mapping }) => [metric, mapping]))
  const config = z.discriminatedUnion('type', liveSourceSchemas).parse({ type: kind, root, metrics })
  switch (config.type) {
    case 'iio':
      return openIio(config, profile)
    case 'w1':
      return openW1(config, profile)
    case 'hwmon':
      return openHwmon(config, profile)
    case 'thermal':
      return openThermal(config, profile)
    default:
      throw new Error(`${config.type} is no kind of sensor`)
  }
}

/** A name that a profile takes (a-z, 0-9, _), not taken yet. */
function metricName(text: string, taken: Set<string>): string {
  const words = text
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '_')
    .replace(/^_+|_+$/g, '')
    .slice(0, NAME_LENGTH)
  const name = /^[a-z]/.test(words) ? words : `sensor_${words}`
  let free = name
  for (let n = 2; taken.has(free); n++) free = `${name}_${n}`
  taken.add(free)
  return free
}

/** Leaves room for a number behind it. */
const NAME_LENGTH = 48

async function names(folder: string): Promise<string[]> {
  const entries = await readdir(folder).catch((): string[] => [])
  return entries.sort((a, b) => a.localeCompare(b, 'en', { numeric: true }))
}
