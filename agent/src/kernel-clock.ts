/** Asks the system whether its clock was set by a time service (NTP, PTP, GPS). */
import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import type { ClockEvidence } from './core/clock-trust.js'
import { KERNEL_CLOCK_WAIT_MS } from './limits.js'

/** systemd-timesyncd makes this file when it has set the clock; it is gone after a boot (systemd-timesyncd.service(8)). */
const SYNCHRONIZED = '/run/systemd/timesync/synchronized'

/** Unknown where there is no systemd, as in a container. `timedatectl` tells what adjtimex(2) says, whoever keeps the clock. */
export async function askKernelClock(): Promise<ClockEvidence['kernel']> {
  if (process.platform !== 'linux') return 'unknown'
  if (existsSync(SYNCHRONIZED)) return 'synced'
  if (!existsSync('/run/systemd/system')) return 'unknown'
  return new Promise(resolve => {
    const command = ['show', '--property=NTPSynchronized', '--value']
    execFile('timedatectl', command, { timeout: KERNEL_CLOCK_WAIT_MS, killSignal: 'SIGKILL' }, (error, stdout) => {
      const answer = stdout.trim()
      resolve(error === null && answer === 'yes' ? 'synced' : error === null && answer === 'no' ? 'unsynced' : 'unknown')
    })
  })
}
