/** On what a run was made: figures mean nothing without. */
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { cpus, release, totalmem } from 'node:os'
import { fileURLToPath } from 'node:url'

export interface Machine {
  readonly cpu: string
  readonly cores: number
  readonly memory_gb: number
  readonly kernel: string
  readonly node: string
  readonly commit: string
  readonly version: string
  /** When the run ended, RFC 3339. */
  readonly date: string
}

const ROOT = fileURLToPath(new URL('../../..', import.meta.url))

export function thisMachine(): Machine {
  const [first] = cpus()
  return {
    cpu: first?.model.trim() || 'unknown',
    cores: cpus().length,
    memory_gb: Math.round(totalmem() / 1024 ** 3),
    kernel: release(),
    node: process.version,
    commit: commit(),
    version: (JSON.parse(readFileSync(`${ROOT}/package.json`, 'utf8')) as { version: string }).version,
    date: new Date().toISOString()
  }
}

function commit(): string {
  const git = (args: readonly string[]) =>
    execFileSync('git', args, { cwd: ROOT, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim()
  try {
    return `${git(['rev-parse', '--short', 'HEAD'])}${git(['status', '--porcelain', '--untracked-files=no']) === '' ? '' : ' with changes'}`
  } catch {
    return 'unknown'
  }
}
