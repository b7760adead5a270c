/**
 * What Linux says of processes in /proc: CPU time, resident memory, bytes written, of this process's descendants and by role. The sum
 * of resident memory counts shared pages once a process; so it is rather too high. What a process that has ended used is remembered as
 * it was seen last. Elsewhere than on Linux there is nothing to read, and all is 0.
 */
import { readdirSync, readFileSync } from 'node:fs'

export type Role = 'gateway' | 'front' | 'simulator' | 'runner' | 'peer'

export interface Usage {
  readonly cpuS: number
  readonly rssBytes: number
  readonly writtenBytes: number
}

/** USER_HZ, which Linux has fixed at 100 for what it tells user space. */
export const TICKS_PER_S = 100
export const PAGE_BYTES = 4096

interface Seen extends Usage {
  readonly role: Role
  isAlive: boolean
}

export class ProcessMeter {
  private readonly seen = new Map<number, Seen>()

  /** `roleOf` tells the role of a descendant by its command line; null: it is none of those that count. */
  constructor(private readonly roleOf: (commandLine: string, pid: number) => Role | null) {}

  /** Looks at all descendants of this process, and at itself. */
  look(): void {
    for (const seen of this.seen.values()) seen.isAlive = false
    for (const pid of [process.pid, ...descendantsOf(process.pid)]) this.read(pid)
  }

  /** What the processes of a role have used. `rssBytes` is of those that lived at the last look. */
  usage(role: Role): Usage {
    let [cpuS, rssBytes, writtenBytes] = [0, 0, 0]
    for (const seen of this.seen.values()) {
      if (seen.role !== role) continue
      cpuS += seen.cpuS
      writtenBytes += seen.writtenBytes
      if (seen.isAlive) rssBytes += seen.rssBytes
    }
    return { cpuS, rssBytes, writtenBytes }
  }

  /** How many processes of a role lived at the last look. */
  count(role: Role): number {
    return [...this.seen.values()].filter(seen => seen.role === role && seen.isAlive).length
  }

  private read(pid: number): void {
    try {
      const { ticks, rssPages } = statOf(pid)
      const known = this.seen.get(pid)
      const role =
        known?.role ??
        (pid === process.pid ? 'runner' : this.roleOf(readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' '), pid))
      if (role === null) return
      const usage = { cpuS: ticks / TICKS_PER_S, rssBytes: rssPages * PAGE_BYTES, writtenBytes: writtenBytesOf(pid) }
      this.seen.set(pid, { ...usage, role, isAlive: true })
    } catch {
      // It has ended meanwhile.
    }
  }
}

/** All processes below one, children before grandchildren. */
export function descendantsOf(root: number): number[] {
  const children = new Map<number, number[]>()
  for (const name of entriesOf('/proc')) {
    if (!/^\d+$/.test(name)) continue
    try {
      const { parent } = statOf(Number(name))
      children.set(parent, [...(children.get(parent) ?? []), Number(name)])
    } catch {
      // It has ended meanwhile.
    }
  }
  const found: number[] = []
  for (let queue = [root]; queue.length > 0; ) {
    queue = queue.flatMap(pid => children.get(pid) ?? [])
    found.push(...queue)
  }
  return found
}

/** Fields of /proc/PID/stat behind the name, which stands in brackets and may hold anything: proc(5). */
export function statOf(pid: number): { parent: number; ticks: number; userTicks: number; rssPages: number } {
  const text = readFileSync(`/proc/${pid}/stat`, 'latin1')
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
  return {
    parent: Number(fields[1]),
    ticks: Number(fields[11]) + Number(fields[12]),
    userTicks: Number(fields[11]),
    rssPages: Number(fields[21])
  }
}

function writtenBytesOf(pid: number): number {
  try {
    return Number(/^write_bytes: (\d+)$/m.exec(readFileSync(`/proc/${pid}/io`, 'latin1'))?.[1] ?? 0)
  } catch {
    return 0 // not ours to see
  }
}

function entriesOf(folder: string): string[] {
  try {
    return readdirSync(folder)
  } catch {
    return []
  }
}
