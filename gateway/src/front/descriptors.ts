/** How many connections a process can hold: each takes a descriptor, and the system bounds those. */
import { readFileSync } from 'node:fs'

/** Descriptors kept for the log, the archive, HTTP, workers, and connections on their way from one process to another. */
const RESERVED = 1000

/** What most systems grant where the limit cannot be read. */
const DESCRIPTORS_ASSUMED = 1024

/** The descriptors that this process and those that it starts may hold each (`ulimit -n`). */
export function descriptorsMax(): number {
  try {
    const limits = readFileSync('/proc/self/limits', 'latin1')
    const soft = /^Max open files\s+(\d+|unlimited)/m.exec(limits)?.[1]
    return soft === 'unlimited' ? Number.POSITIVE_INFINITY : Number(soft ?? DESCRIPTORS_ASSUMED)
  } catch {
    return DESCRIPTORS_ASSUMED // no /proc: not Linux
  }
}

/** How many connections a process may take of the number asked for. At least one. */
export function connectionsCap(connectionsMax: number, descriptors: number): number {
  const reserved = Math.min(RESERVED, Math.floor(descriptors / 2))
  return Math.max(1, Math.min(connectionsMax, descriptors - reserved))
}
