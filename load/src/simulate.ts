#!/usr/bin/env node
/** The command line of the simulation. Exit code 0: every promise was kept. 1: a seed broke one, it is named. 2: something to correct first. */
import { createHash } from 'node:crypto'
import { setImmediate as yieldToSignals } from 'node:timers/promises'
import { SingleBar } from 'cli-progress'
import { Command, CommanderError, InvalidArgumentError } from 'commander'
import { type SimulationCounts, type SimulationResult, simulate } from './simulation/simulation.js'

const HELP = `
One process plays agents, network and gateway under a virtual clock: messages are lost, doubled and delayed, both sides are killed,
clocks step, buffers fill, disks tear and are set back. At the end of each seed the six promises are checked. A seed is a run: the
same seed gives the same digest, to the byte.

Examples:
  $ npm run simulate -- --seed 42
  $ npm run simulate -- --seed 1 --seeds 10000`

/** Time between two lines of progress where there is no terminal, ms. */
const LINE_MS = 10_000

/** Violations of a seed that are shown. */
const SHOWN_MAX = 10

interface Options {
  readonly seed: number
  readonly seeds: number
  readonly json?: true
}

interface Soak {
  readonly seeds: number
  readonly seedsPerS: number
  /** Of the digests of all seeds. */
  readonly digest: string
  readonly counts: Record<keyof SimulationCounts, number>
  readonly failed: SimulationResult | null
}

const program = new Command('npm run simulate --')
  .description('Simulates seeds and checks every promise of the design.')
  .option('--seed <n>', 'the first seed', whole(0), 1)
  .option('--seeds <n>', 'how many seeds, one after the other', whole(1), 1)
  .option('--json', 'print one JSON object instead of lines')
  .addHelpText('after', HELP)
  .showHelpAfterError('(--help shows the options)')
  .exitOverride()

function whole(min: number): (text: string) => number {
  return text => {
    if (/^\d{1,10}$/.test(text) && Number(text) >= min && Number(text) < 2 ** 31) return Number(text)
    throw new InvalidArgumentError(`give a whole number from ${min} to ${2 ** 31 - 1}`)
  }
}

async function main(): Promise<number> {
  const options = program.parse().opts<Options>()
  let isStopped = false
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => {
      isStopped = true
    })
  }
  const soak = await run(options, () => isStopped)
  if (options.json) console.log(JSON.stringify(soak))
  else print(soak, options.seeds)
  return soak.failed !== null ? 1 : isStopped ? 130 : 0
}

/** Runs seed after seed, up to the first that breaks a promise. */
async function run({ seed, seeds }: Options, isStopped: () => boolean): Promise<Soak> {
  const progress = new Progress(seeds)
  const hash = createHash('sha256')
  const counts: Partial<Soak['counts']> = {}
  const startMs = performance.now()
  let done = 0
  let failed: SimulationResult | null = null
  while (done < seeds && failed === null && !isStopped()) {
    const result = simulate(seed + done)
    hash.update(result.digest)
    for (const [name, count] of entriesOf(result.counts)) counts[name] = (counts[name] ?? 0) + count
    if (result.violations.length > 0) failed = result
    progress.show(++done, (done * 1000) / (performance.now() - startMs))
    await yieldToSignals()
  }
  progress.end()
  const seedsPerS = Math.round((done * 10_000) / (performance.now() - startMs)) / 10
  return { seeds: done, seedsPerS, digest: hash.digest('hex'), counts: counts as Soak['counts'], failed }
}

function print({ seeds, seedsPerS, digest, counts, failed }: Soak, wanted: number): void {
  console.log(`${seeds} seed${seeds === 1 ? '' : 's'}, ${seedsPerS} a second, digest ${digest}`)
  console.log(
    entriesOf(counts)
      .map(([name, count]) => `${name} ${count}`)
      .join(', ')
  )
  if (failed === null) {
    console.log(seeds < wanted ? `stopped before the end of ${wanted} seeds; all promises were kept so far` : 'all promises were kept')
    return
  }
  console.log(`seed ${failed.seed} breaks ${[...new Set(failed.violations.map(({ promise }) => promise))].join(', ')}:`)
  for (const { promise, message } of failed.violations.slice(0, SHOWN_MAX)) console.log(`  ${promise}: ${message}`)
  if (failed.violations.length > SHOWN_MAX) console.log(`  … and ${failed.violations.length - SHOWN_MAX} more`)
  console.log(`replay: npm run simulate -- --seed ${failed.seed}`)
}

/** On stderr: a bar on a terminal, a line now and then elsewhere. */
class Progress {
  private readonly bar: SingleBar | null
  private shownMs = performance.now()

  constructor(private readonly seeds: number) {
    const format = '{bar} {value}/{total} seeds, {rate} a second'
    this.bar = process.stderr.isTTY && seeds > 1 ? new SingleBar({ stream: process.stderr, format, hideCursor: true }) : null
    this.bar?.start(seeds, 0, { rate: 0 })
  }

  show(done: number, seedsPerS: number): void {
    const rate = seedsPerS.toFixed(1)
    if (this.bar !== null) this.bar.update(done, { rate })
    else if (performance.now() - this.shownMs >= LINE_MS) {
      this.shownMs = performance.now()
      process.stderr.write(`${done}/${this.seeds} seeds, ${rate} a second\n`)
    }
  }

  /** Leaves the terminal as it was found. */
  end(): void {
    this.bar?.stop()
  }
}

function entriesOf(counts: SimulationCounts): [keyof SimulationCounts, number][] {
  return Object.entries(counts) as [keyof SimulationCounts, number][]
}

try {
  process.exitCode = await main()
} catch (error) {
  if (!(error instanceof CommanderError)) throw error
  process.exitCode = error.exitCode === 0 ? 0 : 2
}
