/**
 * A front in a process of its own, started by `ClusterFronts`. It lives no longer than its socket pair with the core, and it ends when
 * the core says so: signals to the whole group, such as Ctrl-C, are for the core to act on.
 */
import { Socket } from 'node:net'
import { pino } from 'pino'
import { settleHeaps } from '../heaps.js'
import { CoreLink } from './core-link.js'
import { Front } from './front.js'
import { FRONT_ENV, type FrontProcessOptions, LINK_DESCRIPTOR } from './front-process-options.js'

const STATS_MS = 1000

settleHeaps()
const options = JSON.parse(process.env[FRONT_ENV]!) as FrontProcessOptions
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => {})

const socket = new Socket({ fd: LINK_DESCRIPTOR, readable: true, writable: true })
const link = new CoreLink(socket)
const logger = pino({ level: options.logLevel, base: null }, { write: line => link.log(line) })
socket.on('error', () => {}) // 'close' follows
socket.on('close', () => process.exit(1))

const front = await Front.create(link, logger, options)
link.front = front
link.onClose = () => void close()
front.listener.onChange = isListening => link.say({ type: 'listening', isListening })
setInterval(report, STATS_MS)
try {
  await front.listen(options.host, options.port)
} catch (error) {
  const { code = '', message } = error as NodeJS.ErrnoException
  link.say({ type: 'failed-to-listen', code, message })
  await link.flushed()
  process.exit(1)
}

function report(): void {
  const dropped = link.takeDroppedLines()
  if (dropped > 0) logger.warn({ dropped }, 'lines of this log were dropped: the core was behind')
  link.say({ type: 'stats', stats: front.snapshot(), usage: front.usage() })
}

async function close(): Promise<void> {
  await front.close()
  report()
  await link.flushed()
  process.exit(0)
}
