/** The fronts of a gateway with its log and nothing behind it, in a process of its own, for the bench to measure. */
import { createFronts } from '@tidemark/gateway/dist/front/fronts.js'
import { Presence } from '@tidemark/gateway/dist/front/presence.js'
import type { FrontStats } from '@tidemark/gateway/dist/front/stats.js'
import { LogClient } from '@tidemark/gateway/dist/log/log-client.js'
import { pino } from 'pino'

export interface HostOptions {
  readonly logPath: string
  readonly processes: number
  readonly lightSessions: boolean
}

export type FromHost =
  | { readonly type: 'ready'; readonly port: number; readonly frontPids: readonly number[] }
  | { readonly type: 'stats'; readonly stats: FrontStats; readonly waves: number }

const CONNECTIONS_MAX = 18_000

const { logPath, processes, lightSessions } = JSON.parse(process.argv[2]) as HostOptions
const frontPids = new Set<number>()
const write = (line: string): void => {
  const { frontPid } = JSON.parse(line) as { frontPid?: number }
  if (frontPid !== undefined) frontPids.add(frontPid)
}
const log = await LogClient.open(logPath)
const config = { processes, lightSessions, connectionsExpected: CONNECTIONS_MAX, connectionsMax: CONNECTIONS_MAX, relays: [] }
const fronts = await createFronts(config, log, new Presence(), pino({ level: 'info' }, { write }))
const port = await fronts.listen('127.0.0.1', 0)
const say = (message: FromHost): boolean => process.send!(message)
say({ type: 'ready', port, frontPids: [...frontPids] })
process.on('message', () => say({ type: 'stats', stats: fronts.stats(), waves: log.appendedWaves }))
process.on('disconnect', async () => {
  await fronts.close()
  await log.close()
  process.exit(0)
})
