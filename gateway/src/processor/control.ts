/**
 * Control frames: everything that changes what the processor does, other than messages and ticks, so that the log holds all
 * of its inputs. JSON, checked by zod: a log is read by later versions than wrote it.
 */
import { type Profile, profileSchema } from '@tidemark/protocol'
import { z } from 'zod'
import { type DeviceSettings, deviceIdSchema, deviceSettingsSchema } from './registry.js'

/** Times in ms. */
export const settingsSchema = z.object({
  flushIntervalMs: z.int().positive(),
  flushRows: z.int().positive(),
  smallHourRows: z.int().nonnegative(),
  smallHourWaitMs: z.int().nonnegative(),
  /** A snapshot every so many flush boundaries. */
  snapshotEvery: z.int().positive(),
  idleTimeoutMs: z.int().positive(),
  gapTimeoutMs: z.int().positive(),
  allowedLatenessMs: z.int().nonnegative(),
  correctionIntervalMs: z.int().nonnegative(),
  devicesMax: z.int().positive(),
  /** Bytes of opaque event IDs kept for deduplication. */
  eventIdBytesMax: z.int().positive()
})

export type Settings = z.output<typeof settingsSchema>

export const controlSchema = z.discriminatedUnion('control', [
  /** The gateway starts; what follows is processed with these settings and profiles. */
  z.object({ control: z.literal('start'), settings: settingsSchema, profiles: z.array(profileSchema) }),
  /** The gateway stops: rows that wait go out, and the boundary lies behind this entry. */
  z.object({ control: z.literal('drain') }),
  /** Somebody has set something of a device. */
  z.object({ control: z.literal('device'), deviceId: deviceIdSchema, settings: deviceSettingsSchema }),
  /** Features that are marked for it are repaired as of the boundary behind this entry, which takes all rows that wait. */
  z.object({ control: z.literal('repair') })
])

export type Control =
  | { readonly control: 'start'; readonly settings: Settings; readonly profiles: readonly Profile[] }
  | { readonly control: 'drain' }
  | { readonly control: 'device'; readonly deviceId: string; readonly settings: DeviceSettings }
  | { readonly control: 'repair' }

export function encodeControl(control: Control): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(control))
}

/** Throws where the log holds a control frame that this version cannot read. */
export function decodeControl(payload: Uint8Array): Control {
  return controlSchema.parse(JSON.parse(new TextDecoder().decode(payload)))
}
