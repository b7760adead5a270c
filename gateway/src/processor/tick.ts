/** What ticks do: send corrections, pass gaps that stood too long, find who has fallen silent, forget opaque event IDs. */
import type { Device } from './device.js'
import { EVENT_ID_KEPT_MS } from './event-ids.js'
import type { State } from './state.js'

/** Most of the time between two ticks that counts as uptime; more than that, and the gateway was down. */
const TICK_UPTIME_MS_MAX = 2000

const EXPIRY_STEP_MS = 60_000

/** Takes a tick in: time passes, and what waited for that goes on. */
export function tick(state: State): void {
  if (state.settings === null) return
  const { ingestMs, settings } = state
  if (!Number.isNaN(state.tickedMs)) state.uptimeMs += Math.min(ingestMs - state.tickedMs, TICK_UPTIME_MS_MAX)
  state.tickedMs = ingestMs
  for (const device of state.dirty) correct(state, device, settings.correctionIntervalMs)
  for (const device of state.withGap) passGap(state, device, settings.gapTimeoutMs, settings.allowedLatenessMs)
  if (state.uptimeMs - state.idleCheckedMs >= Math.max(1000, settings.idleTimeoutMs / 20)) findIdle(state, settings.idleTimeoutMs)
  expireEventIds(state)
}

/**
 * Sends a device's corrections, those of features that sent none for at least `intervalMs`; and the rows of a profile that came
 * when the watermark was past them already.
 */
export function correct(state: State, device: Device, intervalMs = 0): void {
  state.change(device)
  let isDirty = false
  for (const features of device.features) {
    features.advance(device.watermarkMs, state.sinks(device, features))
    if (state.ingestMs - features.correctedAtMs >= intervalMs) features.correct(state.ingestMs, state.sinks(device, features))
    isDirty ||= features.isDirty
  }
  if (!isDirty) state.dirty.delete(device)
}

/** A gap that has stood too long no longer holds the watermark: it follows the latest reading at a distance. */
function passGap(state: State, device: Device, timeoutMs: number, latenessMs: number): void {
  let hasGap = false
  for (const epoch of device.allEpochs()) {
    if (!epoch.hasGap) continue
    hasGap = true
    if (state.uptimeMs - epoch.gapSinceMs < timeoutMs) continue
    state.change(device)
    state.raiseWatermark(device, epoch.latestAheadMs - latenessMs)
  }
  if (!hasGap) state.withGap.delete(device)
}

function findIdle(state: State, timeoutMs: number): void {
  state.idleCheckedMs = state.uptimeMs
  for (const device of state.devices.values()) {
    if (device.idle || state.uptimeMs - device.lastSeenMs < timeoutMs) continue
    state.change(device)
    device.idle = true
    state.fleet.noteProgress(device)
    for (const features of device.features) features.showOpenHops(state.sinks(device, features))
  }
}

function expireEventIds(state: State): void {
  const throughMs = state.ingestMs - EVENT_ID_KEPT_MS
  if (state.opaqueExpiredMs === Number.NEGATIVE_INFINITY) state.opaqueExpiredMs = throughMs
  if (throughMs - state.opaqueExpiredMs < EXPIRY_STEP_MS) return
  state.opaqueBytes -= state.eventIds.bytesBetween(state.opaqueExpiredMs, throughMs)
  state.opaqueExpiredMs = throughMs
}
