/**
 * A machine with a systemd of its own: the files of this one, under an overlay in memory, in namespaces. Needs root, and a kernel
 * that lets it; its network is this machine's.
 */
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, existsSync, readdirSync, readFileSync, rmdirSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { onTestFinished } from 'vitest'
import { tempDir } from './temp-dir.js'
import { until } from './until.js'

const BOOT = fileURLToPath(new URL('boot-machine.sh', import.meta.url))

export interface Machine {
  /** Where its files are here. */
  readonly root: string
  /** Runs a command of it to its end. */
  run(...command: string[]): { code: number | null; stdout: string; stderr: string }
}

/** The machine, once its systemd is up; the reason where it cannot be had. It is gone when the test has finished. */
export async function bootMachine(): Promise<Machine | string> {
  if (process.getuid?.() !== 0) return 'only root can boot a machine'
  const dir = tempDir()
  const child = spawn(BOOT, [dir], { stdio: ['ignore', 'ignore', 'pipe'] })
  let said = ''
  child.stderr.on('data', chunk => {
    said += chunk
  })
  const closed = once(child, 'close')
  onTestFinished(async () => {
    child.kill('SIGKILL')
    await closed
    const cgroup = textOf(join(dir, 'cgroup'))
    if (cgroup !== '') await until('its processes to end', () => removeCgroup(cgroup))
  })
  let pid = 0
  const run: Machine['run'] = (...command) => {
    const { status, stdout, stderr } = spawnSync(
      'nsenter',
      ['--target', String(pid), '--mount', '--pid', '--cgroup', '--ipc', '--uts', '--root', '--wd=/', '--', ...command],
      { encoding: 'utf8', env: { PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', LANG: 'C.UTF-8' } }
    )
    return { code: status, stdout, stderr }
  }
  const isUp = await until('systemd to boot', () => {
    if (child.exitCode !== null) return 'ended'
    pid = Number(textOf(`/proc/${child.pid}/task/${child.pid}/children`))
    return pid > 0 && /^(running|degraded)$/.test(run('systemctl', 'is-system-running').stdout.trim()) && 'up'
  })
  return isUp === 'up' ? { root: `/proc/${pid}/root`, run } : `no systemd can be booted here: ${said.trim()}`
}

/** Copies a folder into the machine, with what its links point to. */
export function copyInto({ root }: Machine, from: string, to: string): void {
  cpSync(from, join(root, to), { recursive: true, dereference: true })
}

/** Empty where there is no such file. */
function textOf(path: string): string {
  return existsSync(path) ? readFileSync(path, 'utf8').trim() : ''
}

/** False as long as a process is in it. */
function removeCgroup(path: string): boolean {
  try {
    for (const { name } of readdirSync(path, { withFileTypes: true }).filter(entry => entry.isDirectory())) removeCgroup(join(path, name))
    rmdirSync(path)
    return true
  } catch {
    return false
  }
}
