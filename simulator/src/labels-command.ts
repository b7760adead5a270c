/** `tidemark-sim labels`: who fails when, as a CSV file that `tidemark-gateway training-set` reads. */
import { closeSync, openSync, writeSync } from 'node:fs'
import { type Command, Option } from 'commander'
import { UsageError } from './broker.js'
import { labelsOf } from './labels.js'
import { durationOf, readRun, requireWritable } from './options.js'

interface LabelsOptions {
  readonly run: string
  readonly out: string
  readonly every: number
  readonly within: number
}

/** Text that is written at a time. */
const CHARACTERS_AT_ONCE = 1 << 16

export function addLabelsCommand(program: Command): void {
  program
    .command('labels')
    .description('write which devices of a run fail when, from the physics of their machines')
    .requiredOption('--run <file>', 'what `generate --out` or `run --out` wrote')
    .requiredOption('-o, --out <file>', 'the CSV file to write')
    .addOption(new Option('--every <duration>', 'a label at each multiple of this, in UTC').argParser(durationOf).default(3_600_000, '1h'))
    .addOption(
      new Option('--within <duration>', 'label 1: the device fails within this time').argParser(durationOf).default(24 * 3_600_000, '24h')
    )
    .addHelpText(
      'after',
      `
Columns: device_id, label_time, label (0 or 1), fails_at (the next failure). No label while a machine stands for its repair.

Example:
  $ tidemark-sim labels --run run.json -o labels.csv --every 1h --within 24h
  $ tidemark-gateway training-set labels.csv -o train.parquet --data-dir data --embargo 2m`
    )
    .action((options: LabelsOptions) => {
      if (options.every === 0 || options.within === 0) throw new UsageError('--every and --within must be more than 0')
      const { plan, seqs } = readRun(options.run)
      requireWritable(options.out)
      const file = openSync(options.out, 'w')
      let text = 'device_id,label_time,label,fails_at\n'
      let [labels, positive] = [0, 0]
      const failures = new Set<string>()
      for (const { deviceId, timeMs, label, failsMs } of labelsOf(plan, seqs, options.every, options.within)) {
        text += `${deviceId},${new Date(timeMs).toISOString()},${label},${new Date(failsMs).toISOString()}\n`
        labels++
        positive += label
        if (label === 1) failures.add(`${deviceId} ${failsMs}`)
        if (text.length < CHARACTERS_AT_ONCE) continue
        writeSync(file, text)
        text = ''
      }
      writeSync(file, text)
      closeSync(file)
      process.stdout.write(`${labels} labels of ${plan.devices} devices, ${positive} of them before one of ${failures.size} failures\n`)
    })
}
