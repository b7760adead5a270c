/**
 * What people want of a device's own configuration, and what became of it. Decides; sends nothing.
 *
 * The revision only grows: each change is a new one, also where it asks for the same again, so that an answer is never taken for that
 * to another. A retired device gets none.
 */
import { type DeviceConfig, type DeviceConfigSettings, deviceConfigSettingsSchema } from '@tidemark/protocol'
import { z } from 'zod'
import type { Registration } from './registry.js'

const { interval, commit_interval, max_rate, log_level } = deviceConfigSettingsSchema.shape

/** What is left out stays, null takes back. */
export const configChangeSchema = z.strictObject({
  interval: interval.nullable(),
  commit_interval: commit_interval.nullable(),
  max_rate: max_rate.nullable(),
  log_level: log_level.nullable()
})

export type ConfigChange = z.output<typeof configChangeSchema>

/** The settings that hold, if the device takes them; none: as its own file has them. */
export interface ConfigWanted {
  readonly revision: number
  readonly settings: DeviceConfigSettings
}

/** What a device says of the last configuration that came to it. */
export interface ConfigAnswer {
  readonly revision: number
  /** Why it is not applied; null: it is. */
  readonly refused: string | null
}

/** withheld: the device is retired. pending: it has not answered this revision. */
export type ConfigState = 'withheld' | 'pending' | 'applied' | 'refused'

/** A null change takes everything back. */
export function changeConfig(before: ConfigWanted | null, change: ConfigChange | null): ConfigWanted {
  const merged = change === null ? {} : { ...before?.settings, ...change }
  const settings = Object.fromEntries(Object.entries(merged).filter(([, value]) => value !== null && value !== undefined))
  return { revision: (before?.revision ?? 0) + 1, settings }
}

/** null: nothing is wanted. */
export function configStateOf({ config, retired, status }: Registration): ConfigState | null {
  if (config === null) return null
  if (retired) return 'withheld'
  const answer = status?.config ?? null
  if (answer?.revision !== config.revision) return 'pending'
  return answer.refused === null ? 'applied' : 'refused'
}

/** As it travels; null: the device gets none. */
export function configMessage({ config, retired }: Registration): Uint8Array | null {
  if (config === null || retired) return null
  const message: DeviceConfig = { revision: config.revision, ...config.settings }
  return new TextEncoder().encode(JSON.stringify(message))
}
