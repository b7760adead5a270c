/**
 * The device registry: what people have set of a device, and what it has said of itself on its status topic. Part of the
 * processor's state, so that it is a function of the log: a change is a control frame.
 */
import { decodeStatus, isDeviceId, NAME_LENGTH_MAX, type Status } from '@tidemark/protocol'
import { z } from 'zod'
import { type ConfigAnswer, type ConfigWanted, changeConfig, configChangeSchema } from './config-wanted.js'
import type { Device } from './device.js'
import type { State } from './state.js'

const SITE_LENGTH_MAX = 128

const profileName = z
  .string()
  .regex(new RegExp(`^[a-z][a-z0-9_-]{0,${NAME_LENGTH_MAX - 1}}$`), 'is no name of a profile: a-z, 0-9, _ and -, beginning with a letter')

/** What can be set of a device; what is left out stays, null clears. */
export const deviceSettingsSchema = z.strictObject({
  profile: profileName.nullable().optional().describe('the profile of its JSON readings that name none'),
  site: z.string().min(1).max(SITE_LENGTH_MAX).nullable().optional().describe('where it stands'),
  retired: z.boolean().optional().describe('no longer waited for: it leaves the fleet watermark and completeness'),
  config: configChangeSchema.nullable().optional().describe("of its own configuration, in place of its file's; null takes everything back")
})

export const deviceIdSchema = z.string().refine(isDeviceId, 'is no device ID: use 1 to 64 of A-Z a-z 0-9 . _ -')

export type DeviceSettings = z.output<typeof deviceSettingsSchema>

/** The last status of a device; `agent` and `epoch` are those of the session's birth, null where it was not seen. */
export interface DeviceStatus {
  readonly state: 'online' | 'offline'
  readonly session: string
  readonly agent: string | null
  readonly epoch: number | null
  /** What it answered to the configuration that came down in this session; null: nothing. */
  readonly config: ConfigAnswer | null
  /** Ingest time, Unix ms. */
  readonly sinceMs: number
}

export interface Registration {
  /** Ingest time at which the device became known, Unix ms. */
  registeredMs: number
  profile: string | null
  site: string | null
  retired: boolean
  /** What is wanted of its own configuration; null: nothing ever was. */
  config: ConfigWanted | null
  status: DeviceStatus | null
}

export function newRegistration(registeredMs: number): Registration {
  return { registeredMs, profile: null, site: null, retired: false, config: null, status: null }
}

/** A registration that an earlier version may have written, which knew less. */
export function restoredRegistration(known: Registration): Registration {
  return { ...newRegistration(known.registeredMs), ...known, status: known.status && restoredStatus(known.status) }
}

export function restoredStatus(known: DeviceStatus): DeviceStatus {
  return { ...known, config: known.config ?? null }
}

/** A device as the registry shows it. Times are Unix ms. */
export interface DeviceRow extends Registration {
  readonly deviceId: string
  /** Ingest time of its last message of any kind, Unix ms; null: it never sent one. */
  readonly seenMs: number | null
  /** null: none yet. */
  readonly watermarkMs: number | null
  readonly idle: boolean
  /** It said that it ends, and all that it has sampled has become known. */
  readonly ended: boolean
}

export function rowOf({ deviceId, registration, seenMs, watermarkMs, idle, hasEnded }: Device): DeviceRow {
  return { deviceId, ...registration, seenMs: finiteOrNull(seenMs), watermarkMs: finiteOrNull(watermarkMs), idle, ended: hasEnded }
}

function finiteOrNull(value: number): number | null {
  return Number.isFinite(value) ? value : null
}

/** Takes in what a person has set. A device that is not known yet is registered, however many there are. */
export function setDevice(state: State, deviceId: string, settings: DeviceSettings): void {
  const device = state.devices.get(deviceId) ?? state.addDevice(deviceId)
  state.change(device)
  change(device.registration, settings)
  state.fleet.noteRegistration(device)
  if (settings.config !== undefined || settings.retired !== undefined) state.configured.add(device)
}

export function change(registration: Registration, { profile, site, retired, config }: DeviceSettings): void {
  if (profile !== undefined) registration.profile = profile
  if (site !== undefined) registration.site = site
  if (retired !== undefined) registration.retired = retired
  if (config !== undefined) registration.config = changeConfig(registration.config, config)
}

/** Keeps a status. It is no sign of readings: it ends no idleness. One that cannot be decoded is in the raw layer only. */
export function ingestStatus(state: State, deviceId: string, payload: Uint8Array): void {
  const status = decodeStatus(payload)
  if (status === null) {
    state.counters.undecodable++
    return
  }
  const device = state.devices.get(deviceId) ?? (state.hasRoom ? state.addDevice(deviceId) : null)
  if (device === null) return
  state.change(device)
  const { registration } = device
  registration.status = statusAfter(registration.status, status, state.ingestMs)
  device.seenMs = state.ingestMs
  state.fleet.noteRegistration(device)
}

function statusAfter(before: DeviceStatus | null, status: Status, sinceMs: number): DeviceStatus {
  const { state, session } = status
  const birth = before?.session === session ? before : null
  if (status.state === 'offline')
    return { state, session, agent: birth?.agent ?? null, epoch: birth?.epoch ?? null, config: birth?.config ?? null, sinceMs }
  const config = status.config === undefined ? null : { revision: status.config.revision, refused: status.config.refused ?? null }
  return { state, session, agent: status.agent, epoch: status.epoch, config, sinceMs }
}
