/** `tidemark-gateway compact`: one pass of compaction and retention by hand, where no gateway runs. */
import { existsSync } from 'node:fs'
import { SingleBar } from 'cli-progress'
import type { Command } from 'commander'
import { ArchiveOpenError } from '../archive/archive-error.js'
import { Catalog } from '../archive/catalog.js'
import { dataPaths } from '../archive/paths.js'
import { recoverArchive } from '../archive/recover.js'
import { ConfigError, loadConfig } from '../config.js'
import { lockDataDir } from '../data-lock.js'
import { type MaintenancePolicy, type MergeProgress, type PassResult, runPass } from '../maintenance/pass.js'

export interface CompactReport extends PassResult {
  readonly seconds: number
}

/** Fewest files that `--now` finds worth a merge. */
const MIN_FILES_NOW = 2

/**
 * Recovers the archive and runs a pass over it. Throws a `ConfigError` where `dataDir` holds no archive, cannot be written, is held by
 * a running gateway or cannot be recovered.
 */
export async function compactArchive(
  dataDir: string,
  policy: MaintenancePolicy,
  signal: AbortSignal,
  onMerge: (progress: MergeProgress) => void
): Promise<CompactReport> {
  const paths = dataPaths(dataDir)
  if (!existsSync(paths.catalog))
    throw new ConfigError(`${dataDir} is no data folder of a gateway (it holds no catalog.sqlite): give the right one with --data-dir`)
  const startedMs = performance.now()
  const lock = lockDataDir(dataDir)
  try {
    recover(dataDir)
    const catalog = Catalog.open(paths.catalog)
    try {
      const result = await runPass({ paths, catalog, policy, nowMs: Date.now, signal, onMerge })
      return { ...result, seconds: Math.round(performance.now() - startedMs) / 1000 }
    } finally {
      catalog.close()
    }
  } finally {
    lock.close()
  }
}

function recover(dataDir: string): void {
  try {
    recoverArchive(dataDir, 0, message => process.stderr.write(`${message}\n`))
  } catch (cause) {
    throw cause instanceof ArchiveOpenError ? new ConfigError(cause.message, { cause }) : cause
  }
}

/** The policy under which hours need not have ended, and two files are enough. */
export function withoutWaiting(policy: MaintenancePolicy): MaintenancePolicy {
  return { ...policy, afterMs: Number.NEGATIVE_INFINITY, minFiles: MIN_FILES_NOW }
}

export function compactText(report: CompactReport): string {
  const { compactions, filesBefore, filesAfter, rows, expiredFiles, expiredRows, deleted, waiting, failures } = report
  const rate = report.seconds === 0 ? '' : `, ${megabytes(report.bytesBefore / report.seconds)} a second`
  const lines = [
    compactions === 0
      ? 'nothing to compact'
      : `compacted ${filesBefore} files into ${filesAfter}: ${megabytes(report.bytesBefore)} into ${megabytes(report.bytesAfter)}, ${rows} rows, in ${report.seconds} s${rate}`,
    ...(expiredFiles > 0 ? [`retention took ${expiredFiles} files with ${expiredRows} rows out of the archive`] : []),
    ...(deleted > 0 ? [`deleted ${deleted} superseded files`] : []),
    ...(waiting > 0 ? [`${waiting} superseded files wait for their deletion by a later pass (compaction.keep)`] : []),
    ...(report.stopped ? ['stopped early: what was done is committed, run it again for the rest'] : []),
    ...failures.map(failure => `failed: ${failure}`)
  ]
  return `${lines.join('\n')}\n`
}

function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(1)} MB`
}

interface Bar {
  show(progress: MergeProgress): void
  end(): void
}

/** A bar of the bytes merged; nothing where there is no terminal. */
function mergeBar(stream: NodeJS.WriteStream): Bar {
  if (!stream.isTTY) return { show: () => {}, end: () => {} }
  const looks = { barsize: 16, barCompleteChar: '█', barIncompleteChar: '░', hideCursor: true, linewrap: false, gracefulExit: false }
  const bar = new SingleBar({ ...looks, stream, format: '{bar} {percentage}% {folder}', clearOnComplete: true })
  bar.start(1, 0, { folder: '' })
  return {
    show({ folder, doneBytes, plannedBytes }) {
      bar.setTotal(Math.max(1, plannedBytes))
      bar.update(doneBytes, { folder: folder ?? '' })
    },
    end: () => bar.stop()
  }
}

interface CompactOptions {
  readonly config?: string
  readonly dataDir?: string
  readonly now?: boolean
  readonly json?: boolean
}

const HELP = `
A running gateway does this by itself, as compaction.every says; this is for a data folder that no gateway holds. Hours that ended
compaction.after ago are merged into few large files, hours older than retention keeps them are deleted, and so are files that were
superseded longer than compaction.keep ago. Exit code 0: done; 1: an hour failed, or it was stopped; 2: it could not begin.

Examples:
  $ tidemark-gateway compact --data-dir ./data
  $ tidemark-gateway compact --config gateway.yaml --now --json
`

export function addCompactCommand(program: Command): void {
  program
    .command('compact')
    .description('merge the small files of the archive and apply retention, once, while no gateway runs')
    .option('-c, --config <file>', "the gateway's YAML configuration; without one, the defaults")
    .option('-d, --data-dir <folder>', "the gateway's data folder (over data_dir)")
    .option('--now', 'do not wait for hours to be over, and merge from two files on')
    .option('--json', 'print what was done as JSON')
    .addHelpText('after', HELP)
    .action(async (options: CompactOptions) => {
      const config = loadConfig(options.config, options.dataDir === undefined ? {} : { dataDir: options.dataDir })
      const { policy } = config.maintenance
      const stop = new AbortController()
      for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, () => stop.abort())
      const bar = mergeBar(process.stderr)
      const pass = compactArchive(config.dataDir, options.now ? withoutWaiting(policy) : policy, stop.signal, bar.show)
      const report = await pass.finally(bar.end)
      process.stdout.write(options.json ? `${JSON.stringify(report)}\n` : compactText(report))
      process.exitCode = report.failures.length > 0 || report.stopped ? 1 : 0
    })
}
