/**
 * Measures what a message costs a process of the simulated fleet: CPU time, apart in user land and in the kernel, and memory. It
 * publishes single readings, a device over a connection of its own, to a broker that does nothing but ack.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { Command, InvalidArgumentError } from 'commander'
import type { FromSink } from './fleet-bench/sink.js'
import { PAGE_BYTES, statOf, TICKS_PER_S } from './run/proc.js'

interface Options {
  readonly devices: number
  readonly intervalMs: number
  readonly rounds: number
  readonly for: number
  readonly json?: boolean
}

/** CPU time of a message, in microseconds. */
interface Cost {
  readonly messages: number
  readonly user_us: number
  readonly kernel_us: number
  readonly total_us: number
}

const CONNECT_PER_S = 3000

/** Until what is compiled late is compiled: every device has sent a message by then, and a few of them two. */
const SETTLE_MS = 6000

export async function main(args: readonly string[] = process.argv.slice(2)): Promise<void> {
  const program = new Command('bench-fleet')
    .description('Prints what a message of a single reading costs a process of the simulated fleet.')
    .option('--devices <n>', 'devices, each with a connection', whole, 15_000)
    .option('--interval-ms <ms>', 'a device publishes one reading so often', whole, 5000)
    .option('--rounds <n>', 'how often to measure; the median counts', whole, 3)
    .option('--for <seconds>', 'how long to measure each time', whole, 8)
    .option('--json', 'print one JSON object instead of lines')
    .addHelpText('after', '\nExample:\n  npm run bench:fleet -- --devices 10000')
  await program.parseAsync(args, { from: 'user' })
  const options = program.opts<Options>()
  const sink = fork(programOf('./fleet-bench/sink.js'))
  const ready = await answerOf(sink, 'ready')
  const fleet = fork(programOf('../../simulator/dist/fleet-process.js'), { execArgv: [], serialization: 'advanced' })
  try {
    await begin(fleet, ready.port, options)
    await pause(SETTLE_MS)
    const costs: Cost[] = []
    for (let round = 0; round < options.rounds; round++) costs.push(await measure(sink, fleet.pid!, options.for))
    const median = costs.sort((a, b) => a.total_us - b.total_us)[Math.floor(costs.length / 2)]
    const rss_mb = Math.round((statOf(fleet.pid!).rssPages * PAGE_BYTES) / 2 ** 20)
    if (options.json) console.log(JSON.stringify({ node: process.version, devices: options.devices, median, rss_mb, costs }))
    else {
      for (const cost of costs) console.log(lineOf(cost))
      console.log(`median: ${lineOf(median)}; RSS ${rss_mb} MB`)
    }
  } finally {
    fleet.kill('SIGKILL')
    sink.disconnect()
  }
}

/** Resolves when the fleet is connected and has been told to sample. */
async function begin(fleet: ChildProcess, port: number, { devices, intervalMs }: Options): Promise<void> {
  const options = { url: `mqtt://127.0.0.1:${port}`, devices, intervalMs, forMs: 3_600_000, connectPerS: CONNECT_PER_S }
  fleet.send({ say: 'play', options, share: { index: 0, of: 1 }, addresses: [{ host: '127.0.0.1', port }] })
  await new Promise<void>((resolve, reject) => {
    fleet.on('message', (message: { say: string; message?: string }) => {
      if (message.say === 'ready') resolve()
      else if (message.say === 'failure') reject(new Error(message.message))
    })
    fleet.once('exit', code => reject(new Error(`the fleet ended with ${code}`)))
  })
  fleet.send({ say: 'begin', startMs: Date.now() })
}

async function measure(sink: ChildProcess, pid: number, seconds: number): Promise<Cost> {
  const [before, from] = [statOf(pid), await answerOf(sink, 'acked')]
  await pause(seconds * 1000)
  const [after, to] = [statOf(pid), await answerOf(sink, 'acked')]
  const messages = to.messages - from.messages
  const usOf = (ticks: number) => Math.round((ticks / TICKS_PER_S / messages) * 1e7) / 10
  const user = after.userTicks - before.userTicks
  const total = after.ticks - before.ticks
  return { messages, user_us: usOf(user), kernel_us: usOf(total - user), total_us: usOf(total) }
}

function answerOf<T extends FromSink['type']>(sink: ChildProcess, type: T): Promise<Extract<FromSink, { type: T }>> {
  return new Promise(resolve => {
    sink.once('message', (message: FromSink) => {
      if (message.type === type) resolve(message as Extract<FromSink, { type: T }>)
    })
    if (type === 'acked') sink.send('stats')
  })
}

function lineOf({ messages, user_us, kernel_us, total_us }: Cost): string {
  return `${messages} messages, each ${total_us} us of CPU time: ${user_us} in user land, ${kernel_us} in the kernel`
}

function programOf(path: string): string {
  return fileURLToPath(new URL(path, import.meta.url))
}

function whole(text: string): number {
  if (!/^[1-9]\d*$/.test(text)) throw new InvalidArgumentError('Write a whole number from 1.')
  return Number(text)
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) await main()
