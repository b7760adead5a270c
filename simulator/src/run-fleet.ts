/**
 * Runs a fleet to its end: in this process, or in several that begin together. The share of each is every n-th device, so all are as
 * busy at any time, and none holds more connections than it may have descriptors.
 */
import { probeDestinations, resolveDestinations } from './broker.js'
import { Fleet } from './fleet.js'
import type { FleetOptions, FleetProgress, FleetReport } from './fleet-options.js'
import { planOf } from './fleet-plan.js'
import { FleetProcesses } from './fleet-processes.js'
import { PROCESS_CONNECTIONS_MAX } from './limits.js'
import { WHOLE } from './schedule.js'
import { Scoreboard } from './scoreboard.js'

/**
 * Runs a fleet until its time is over or `options.signal` is aborted, everything is acked, and every device has said goodbye.
 * Rejects with a UsageError, with a BrokerUnreachableError or BrokerRefusedError when not even the first device can connect, or with
 * a ResourceError.
 */
export async function runFleet(options: FleetOptions, onProgress: (progress: FleetProgress) => void = () => {}): Promise<FleetReport> {
  const { devices, connections = devices } = planOf(options, Date.now()) && options
  const addresses = await resolveDestinations(options.url, connections, options.destinations)
  await probeDestinations(addresses)
  const needed = Math.ceil(connections / PROCESS_CONNECTIONS_MAX)
  const processes = options.processes ?? needed
  if (options.processes !== undefined || needed > 1) return await new FleetProcesses(options, addresses, processes, onProgress).run()
  return await runHere(options, addresses, onProgress)
}

function runHere(options: FleetOptions, addresses: Parameters<typeof probeDestinations>[0], onProgress: (progress: FleetProgress) => void) {
  const { devices, connections = devices, signal } = options
  const board = new Scoreboard(1, devices, connections)
  const beganMs = performance.now()
  return new Promise<FleetReport>((resolve, reject) => {
    let startMs = Date.now()
    let connectMs = 0
    const stop = () => fleet.stop()
    const fleet = new Fleet(options, WHOLE, addresses, {
      onReady: () => {
        connectMs = performance.now() - beganMs
        startMs = Date.now()
        fleet.begin(startMs)
      },
      onTelling: (telling, live, backlog) => {
        board.take(0, telling, live, backlog)
        onProgress(board.progress(performance.now()))
      },
      onReport: report => {
        signal?.removeEventListener('abort', stop)
        resolve(board.report(planOf(options, startMs), [report], connectMs))
      },
      onFailure: error => {
        signal?.removeEventListener('abort', stop)
        reject(error)
      }
    })
    signal?.addEventListener('abort', stop)
    fleet.start()
    if (signal?.aborted) fleet.stop()
  })
}
