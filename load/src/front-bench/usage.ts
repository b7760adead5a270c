/** What processes have used so far, by /proc. */
import { readFileSync } from 'node:fs'

/** Ticks of /proc's clock in a second: what Linux has on all machines that Node runs on. */
const TICKS_PER_S = 100

export interface Usage {
  readonly cpuS: number
  readonly residentMb: number
}

/** The sum over the processes. Throws where one has ended. */
export function usageOf(pids: readonly number[]): Usage {
  let cpuS = 0
  let residentMb = 0
  for (const pid of pids) {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    cpuS += (Number(fields[11]) + Number(fields[12])) / TICKS_PER_S
    residentMb += Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1]) / 1024
  }
  return { cpuS, residentMb }
}
