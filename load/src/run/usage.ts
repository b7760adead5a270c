/** What processes have used so far, by /proc. */
import { PAGE_BYTES, statOf, TICKS_PER_S } from './proc.js'

export interface Usage {
  readonly cpuS: number
  readonly residentMb: number
}

/** The sum over the processes. Throws where one has ended. */
export function usageOf(pids: readonly number[]): Usage {
  let cpuS = 0
  let residentMb = 0
  for (const pid of pids) {
    const { ticks, rssPages } = statOf(pid)
    cpuS += ticks / TICKS_PER_S
    residentMb += (rssPages * PAGE_BYTES) / 2 ** 20
  }
  return { cpuS, residentMb }
}
