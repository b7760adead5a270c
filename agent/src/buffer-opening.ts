/**
 * Opens the buffer for an agent that must not stay away because of it: a damaged one is salvaged first. What cannot be helped here (no
 * folder, no rights, another device's buffer) is a `BufferOpenError`.
 */
import { existsSync, statSync } from 'node:fs'
import type { Logger } from 'pino'
import { BufferOpenError, BufferWriteError, isDamage } from './buffer-error.js'
import { readMark } from './buffer-mark.js'
import { finishSalvage, type SalvageReport, salvageBuffer } from './buffer-salvage.js'
import { DamagedFile } from './damaged-file.js'
import { CHECKED_AT_START_BYTES_MAX } from './limits.js'
import { type BufferOptions, SqliteBuffer } from './sqlite-buffer.js'

/** @param isDamaged whether it is known to be: then it is not even tried */
export function openBuffer(options: BufferOptions, log: Logger, isDamaged = false): SqliteBuffer {
  if (finishSalvage(options.path)) {
    log.warn('a salvage of the buffer that was broken off is finished')
    isDamaged = false
  }
  let reason: string | null = isDamaged ? 'it turned out to be damaged' : damageSeen(options.path, options.deviceId)
  if (reason === null) {
    try {
      return new SqliteBuffer(options)
    } catch (error) {
      if (!isDamage(error)) throw forPerson(error)
      reason = error instanceof Error ? error.message : String(error)
    }
  }
  log.error({ reason }, 'the buffer is damaged: keeping what can be read')
  const salvaged = salvage(options)
  log.warn(salvaged, 'the buffer is salvaged: what could not be read is declared as shed (damaged)')
  try {
    return new SqliteBuffer(options)
  } catch (error) {
    throw forPerson(error)
  }
}

/** A disk that is full or read-only already when the agent starts is for a person to correct. */
function forPerson(error: unknown): unknown {
  return error instanceof BufferWriteError ? new BufferOpenError(error.message, { cause: error }) : error
}

function salvage(options: BufferOptions): SalvageReport {
  try {
    return salvageBuffer(options)
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error)
    throw new BufferOpenError(`cannot salvage the buffer ${options.path}: ${why}; its folder must be writable, with room for a copy`, {
      cause: error
    })
  }
}

/** What is seen to be wrong without opening it for writing; null where nothing is, or it would take too long to look. */
function damageSeen(path: string, deviceId: string): string | null {
  const bytes = existsSync(path) ? statSync(path).size : 0
  if (bytes === 0) return readMark(path, deviceId) === null ? null : 'the file is gone, or empty'
  if (bytes > CHECKED_AT_START_BYTES_MAX) return null
  const file = new DamagedFile(path)
  try {
    return file.examine(readMark(path, deviceId)).problems[0] ?? null
  } finally {
    file.close()
  }
}
