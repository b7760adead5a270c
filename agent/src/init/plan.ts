/** What `init` is going to write, and the sources that it can choose from. */
import type { Disk } from './disk.js'
import { SENSOR_KINDS, type Sensor, type SensorKind } from './sensors.js'

/** What `init` can configure by itself: the machine, its sensors, or a machine that does not exist. */
export const SOURCE_CHOICES = ['system', ...SENSOR_KINDS, 'simulated'] as const

export type SourceChoice = (typeof SOURCE_CHOICES)[number]

export type Durability = 'strict' | 'spill'

export interface Plan {
  readonly deviceId: string
  /** May hold user and password. */
  readonly urls: readonly string[]
  readonly sources: readonly SourceChoice[]
  /** Those of the chosen sources. */
  readonly sensors: readonly Sensor[]
  /** As it is written in the file: `10s`. */
  readonly interval: string
  readonly durability: Durability
  readonly disk: Disk
  /** As it is written in the file: absolute, or relative to the file. */
  readonly bufferPath: string
  /** The folder that holds proc/ and sys/. */
  readonly root: string
  /** The name of the file beside the configuration that holds the profile; null: a built-in one does. */
  readonly profileFile: string | null
}

/** What a machine without any answers gets: itself, and what somebody has attached to it. Its own temperatures are in `system`. */
export function sourcesByDefault(found: readonly Sensor[]): SourceChoice[] {
  return ['system', ...kindsFound(found).filter(kind => kind === 'iio' || kind === 'w1')]
}

export function kindsFound(found: readonly Sensor[]): SensorKind[] {
  return SENSOR_KINDS.filter(kind => found.some(sensor => sensor.kind === kind))
}

/** `spill` spares a card that wears out; on a disk nothing is lost for it. */
export function durabilityFor(disk: Disk): Durability {
  return disk.isCard ? 'spill' : 'strict'
}

export function intervalFor(sources: readonly SourceChoice[]): string {
  return sources.includes('simulated') ? '5s' : '10s'
}
