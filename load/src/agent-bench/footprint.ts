/**
 * What agent and peers take of memory and processor while they do the same job at the same time, for one broker. Each is believed only
 * where its messages have arrived.
 */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { connectAsync } from 'mqtt'
import { BROKER } from '../peers/mosquitto.js'
import { listens, Program } from '../peers/program.js'
import { ReplayError } from '../replay/replay-error.js'
import { freePort } from '../run/gateway-process.js'
import { usageOf } from '../run/usage.js'
import { type Contender, type ContenderName, contender } from './peers.js'

export interface Footprint {
  readonly name: ContenderName
  readonly rssMb: number
  /** Of one core. */
  readonly cpuPercent: number
}

/** A timer of a busy machine may miss some, and the ends of the measured time may cut off one. */
const ARRIVED_MIN = 0.9

/**
 * Runs them for so long, and measures the later half of that. Rejects with a `ReplayError` where one did not do its job.
 * @param folder an empty one
 * @param cli the agent's program
 */
export async function measureFootprints(
  names: readonly ContenderName[],
  folder: string,
  cli: string,
  seconds: number
): Promise<Footprint[]> {
  mkdirSync(folder, { recursive: true })
  const port = await freePort()
  const running: Program[] = []
  const start = async (name: string, command: readonly string[], isUp: () => Promise<boolean>): Promise<Program> => {
    const program = new Program(name, command[0], command.slice(1), join(folder, `${name}.log`))
    running.unshift(program)
    await program.start(isUp)
    return program
  }
  try {
    await start('mosquitto', [BROKER, '-p', String(port)], () => listens(port))
    const contenders = await Promise.all(names.map(name => contender(name, join(folder, name), cli, port)))
    const arrivals = await Arrivals.at(port, contenders)
    try {
      const programs = await Promise.all(
        contenders.map(({ name, command }) => start(name, command, async () => arrivals.counts()[name] > 0))
      )
      await delay((seconds / 2) * 1000)
      const before = { ms: performance.now(), arrived: arrivals.counts(), usages: programs.map(({ pid }) => usageOf([pid])) }
      await delay((seconds / 2) * 1000)
      const arrived = arrivals.counts()
      const measuredS = (performance.now() - before.ms) / 1000
      return contenders.map(({ name, messagesPerS }, i) => {
        const messages = arrived[name] - before.arrived[name]
        if (messages < (measuredS - 1) * messagesPerS * ARRIVED_MIN)
          throw new ReplayError(`${name} has published ${messages} messages in ${Math.round(measuredS)} s, not ${messagesPerS} a second`)
        const { cpuS, residentMb } = usageOf([programs[i].pid])
        return { name, rssMb: residentMb, cpuPercent: ((cpuS - before.usages[i].cpuS) / measuredS) * 100 }
      })
    } finally {
      await arrivals.close()
    }
  } finally {
    for (const program of running) await program.end('SIGTERM')
  }
}

/** Counts the messages of each contender. */
class Arrivals {
  private constructor(
    private readonly arrived: Record<string, number>,
    readonly close: () => Promise<void>
  ) {}

  static async at(port: number, contenders: readonly Contender[]): Promise<Arrivals> {
    const client = await connectAsync(`mqtt://127.0.0.1:${port}`)
    const arrived = Object.fromEntries(contenders.map(({ name }) => [name, 0]))
    client.on('message', topic => {
      const from = contenders.find(({ topics }) => topic.startsWith(topics))
      if (from !== undefined) arrived[from.name]++
    })
    await client.subscribeAsync('#')
    return new Arrivals(arrived, () => client.endAsync())
  }

  counts(): Readonly<Record<string, number>> {
    return { ...this.arrived }
  }
}
