/**
 * Installs the agent's tarball as a device does, but for what npm would fetch: nothing is. The one better-sqlite3 that this Node loads
 * is taken from here.
 */
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { packAgent } from './pack.js'

const MODULES = fileURLToPath(new URL('../../../node_modules', import.meta.url))

export interface InstalledAgent {
  /** `tidemark-agent` itself. */
  readonly cli: string
  /** The package's folder. */
  readonly folder: string
}

/** @param dir an empty folder, which holds tarball and installation from then on */
export async function installAgent(dir: string): Promise<InstalledAgent> {
  const tarball = await packAgent(dir)
  const prefix = join(dir, 'prefix')
  const options = ['--offline', '--cache', join(dir, 'cache'), '--no-audit', '--no-fund']
  execFileSync('npm', ['install', '-g', '--prefix', prefix, ...options, tarball], { cwd: dir, stdio: 'pipe' })
  const folder = join(prefix, 'lib/node_modules/@tidemark/agent')
  mkdirSync(join(folder, 'node_modules'), { recursive: true })
  for (const name of ['better-sqlite3', 'better-sqlite3-node20']) {
    if (existsSync(join(MODULES, name))) symlinkSync(join(MODULES, name), join(folder, 'node_modules', name))
  }
  return { cli: join(prefix, 'bin/tidemark-agent'), folder }
}
