/** `tidemark-agent doctor`: says whether the buffer is sound, and salvages one that is not. */
import { existsSync, statSync } from 'node:fs'
import { pino } from 'pino'
import { isLocked, lockBuffer } from './buffer-lock.js'
import { readMark } from './buffer-mark.js'
import { openBuffer } from './buffer-opening.js'
import { bufferOptionsOf } from './buffer-options.js'
import type { Config } from './config.js'
import { recover } from './core/recovery.js'
import { DamagedFile } from './damaged-file.js'

export interface Diagnosis {
  readonly buffer: string
  readonly bytes: number
  /** An agent has it open. */
  readonly running: boolean
  readonly healthy: boolean
  /** What is wrong, a line each. */
  readonly problems: readonly string[]
  /** Readings that can be read. */
  readonly readable_readings: number
  readonly repaired: boolean
  /** What the last salvage kept and lost; null: there never was one. */
  readonly salvage: string | null
}

/** Reads the whole buffer, also beside a running agent. */
export function diagnose({ bufferPath, deviceId }: Config): Diagnosis {
  const running = isLocked(bufferPath)
  const mark = readMark(bufferPath, deviceId)
  const bytes = existsSync(bufferPath) ? statSync(bufferPath).size : 0
  const base = { buffer: bufferPath, bytes, running, repaired: false }
  if (bytes === 0) {
    const problems = mark === null ? [] : ['the file is gone, or empty, and there was one']
    return { ...base, healthy: problems.length === 0, problems, readable_readings: 0, salvage: null }
  }
  const file = new DamagedFile(bufferPath)
  try {
    const { state, epochs } = file.read()
    const { problems: found, readableReadings } = file.examine(mark)
    const problems = [...found]
    if (state !== null && epochs.length > 0 && !running && recover(state, epochs, mark).isDamaged)
      problems.push('commits are gone that were made; was its -wal file deleted?')
    return { ...base, healthy: problems.length === 0, problems, readable_readings: readableReadings, salvage: state?.salvage ?? null }
  } finally {
    file.close()
  }
}

/** As `diagnose`; and what is damaged is salvaged. Throws a `BufferOpenError` where an agent has it open. */
export async function repair(config: Config): Promise<Diagnosis> {
  const unlock = lockBuffer(config.bufferPath)
  try {
    const found = diagnose(config)
    if (found.healthy) return { ...found, running: false }
    const buffer = openBuffer(await bufferOptionsOf(config, true), pino({ level: 'silent' }), found.bytes > 0)
    buffer.close()
    return { ...diagnose(config), running: false, repaired: true, problems: found.problems }
  } finally {
    unlock()
  }
}

/** The diagnosis as lines for people. */
export function formatDiagnosis(diagnosis: Diagnosis): string {
  const { buffer, bytes, running, healthy, problems, readable_readings, repaired, salvage } = diagnosis
  const verdict = !healthy
    ? 'damaged'
    : repaired
      ? 'was damaged, and is sound now'
      : bytes === 0
        ? 'not there yet: start the agent first'
        : 'sound'
  const lines = [`buffer     ${buffer} (${bytes} bytes${running ? '; an agent has it open' : ''})`, `state      ${verdict}`]
  lines.push(`readable   ${readable_readings} readings`, ...problems.map(problem => `problem    ${problem}`))
  if (salvage !== null) lines.push(`salvage    ${salvage}`)
  if (!healthy)
    lines.push('remedy     tidemark-agent doctor --repair, or just start the agent: it keeps what can be read, and declares the rest')
  return lines.join('\n')
}
