/** `tidemark-gateway repair`: repairs marked features of a stopped gateway's data folder, now. */
import { existsSync } from 'node:fs'
import { join, resolve } from 'node:path'
import type { Command } from 'commander'
import { ConfigError } from '../config.js'
import { lockDataDir } from '../data-lock.js'
import { comeToBoundary } from '../pipeline/offline-pipeline.js'
import type { PipelineEvents } from '../pipeline/pipeline-client.js'
import type { Repaired } from '../repair/repair-job.js'

/** All repairs that were made: one that a crash had left ordered, and the one asked for. */
export interface RepairReport {
  readonly repairs: number
  /** Devices' hours that were marked. */
  readonly marks: number
  readonly readings: number
  /** Feature rows that went out with the next revision, and those that are as they were. */
  readonly rows: number
  readonly unchanged: number
  readonly files: number
  readonly bytes: number
  /** Marks that are left: of profiles that the gateway does not know any more. */
  readonly marks_left: number
}

/** Throws a `ConfigError` where the folder is none of a gateway, or a running one holds it. */
export async function repairDataDir(
  folder: string,
  events: Pick<PipelineEvents, 'onRepairProgress'> & { warn(message: string): void }
): Promise<RepairReport> {
  const dataDir = resolve(folder)
  if (!existsSync(join(dataDir, 'catalog.sqlite')))
    throw new ConfigError(`${dataDir} is no data folder of a gateway (it holds no catalog.sqlite): give the right one with --data-dir`)
  const lock = lockDataDir(dataDir)
  const repairs: Repaired[] = []
  let marksLeft = 0
  try {
    const onRepaired = (repaired: Repaired, left: number) => {
      repairs.push(repaired)
      marksLeft = left
    }
    await comeToBoundary(dataDir, { control: 'repair' }, { ...events, onRepaired })
  } finally {
    lock.close()
  }
  const sum = (of: (repaired: Repaired) => number) => repairs.reduce((total, repaired) => total + of(repaired), 0)
  return {
    repairs: repairs.length,
    marks: sum(({ marks }) => marks),
    readings: sum(({ readings }) => readings),
    rows: sum(({ rows }) => rows),
    unchanged: sum(({ unchanged }) => unchanged),
    files: sum(({ files }) => files),
    bytes: sum(({ bytes }) => bytes),
    marks_left: marksLeft
  }
}

const HELP = `
Readings that come later than a profile's "corrections" are archived, and the features that they change are marked. A running
gateway repairs them by itself (repair_interval in its configuration); this does it now, on the folder of a stopped one. It is
safe to end it at any time and to run it again. Exit code 0: done; 1: it failed and can be tried again; 2: correct something first.

Example:
  $ tidemark-gateway repair --data-dir ./data
`

export function addRepairCommand(program: Command): void {
  program
    .command('repair')
    .description('repair the features of hours that readings came too late for, on a stopped data folder')
    .option('--data-dir <folder>', "the gateway's data folder", './data')
    .option('--json', 'print the figures as JSON')
    .addHelpText('after', HELP)
    .action(async (options: { dataDir: string; json?: boolean }) => {
      try {
        const report = await repairDataDir(options.dataDir, { warn: say, onRepairProgress: showProgress })
        if (process.stderr.isTTY) process.stderr.write('\r\x1b[K')
        process.stdout.write(options.json ? `${JSON.stringify(report)}\n` : reportText(report))
      } catch (error) {
        say(error instanceof Error ? error.message : String(error))
        process.exit(error instanceof ConfigError ? 2 : 1) // workers may be left
      }
    })
}

function say(message: string): void {
  process.stderr.write(`${message}\n`)
}

function showProgress({ marks, marksDone }: { marks: number; marksDone: number }): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${marksDone} of ${marks} hours repaired`)
}

function reportText({ marks, rows, unchanged, readings, files, marks_left }: RepairReport): string {
  const left = marks_left > 0 ? `${marks_left} hours stay marked: the gateway does not know their profile any more\n` : ''
  if (marks === 0) return `nothing was marked for repair\n${left}`
  return `${marks} hours repaired from ${readings} readings: ${rows} feature rows in ${files} files, ${unchanged} rows are as they were\n${left}`
}
