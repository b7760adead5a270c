/** What the buffer needs to know of the configuration and of the machine. */
import { randomBytes } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import type { Config } from './config.js'
import { RESERVE_MS, RESERVE_READINGS_MAX, RESERVE_READINGS_MIN } from './limits.js'
import { monotonicMs } from './monotonic.js'
import type { BufferOptions } from './sqlite-buffer.js'

export async function bufferOptionsOf(
  { bufferPath, deviceId, profile, buffer, intervalMs }: Config,
  isLive: boolean
): Promise<BufferOptions> {
  const reserved = Math.min(RESERVE_READINGS_MAX, Math.max(RESERVE_READINGS_MIN, Math.ceil(RESERVE_MS / intervalMs)))
  return {
    path: bufferPath,
    deviceId,
    profile,
    machineId: await machineId(),
    bytesMax: buffer.bytesMax,
    whenFull: buffer.whenFull,
    ringBytesMax: buffer.ringBytesMax,
    isLive,
    reserveReadings: buffer.durability === 'spill' ? reserved : 0,
    randomBytes: () => randomBytes(7),
    wallMs: () => Date.now(),
    monotonicMs
  }
}

/** What tells this machine from a copy of its disk; empty where the system has no such file (machine-id(5)). */
async function machineId(): Promise<string> {
  try {
    return (await readFile('/etc/machine-id', 'utf8')).trim()
  } catch {
    return ''
  }
}
