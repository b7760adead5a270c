/** The machine that the service is installed on, or a folder that holds the system of one: its users, its units, its systemd. */
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { ConfigError } from '../config-error.js'
import { SERVICE } from './unit.js'

export interface Account {
  readonly uid: number
  readonly gid: number
}

/** What is noted with a user that was made here (the comment field of passwd(5)), so that nobody else's is ever removed. */
const MADE_HERE = 'Tidemark agent'

export interface Ran {
  /** null: a signal ended it. */
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

export class Host {
  /** @param root `/`, or the folder of another system, such as an image of an SD card */
  constructor(readonly root: string) {}

  /** Its systemd is the one that runs here. */
  get isThisMachine(): boolean {
    return this.root === '/'
  }

  /** Where a path of that system is here. */
  at(path: string): string {
    return join(this.root, path)
  }

  get unitPath(): string {
    return this.at(`/etc/systemd/system/${SERVICE}`)
  }

  /** Throws a `ConfigError` where services cannot be installed at all. */
  check(command: string): void {
    if (process.getuid?.() !== 0) throw new ConfigError(`${command} changes the system: run it as root, with sudo`)
    // sd_booted(3)
    if (this.isThisMachine && !existsSync('/run/systemd/system'))
      throw new ConfigError(
        'systemd does not run here: let whatever starts services here run `tidemark-agent start --config FILE`, and restart it when it ends'
      )
    if (!this.isThisMachine && !existsSync(this.at('/etc')))
      throw new ConfigError(`--root: there is no system in ${this.root}: it has no folder etc`)
  }

  /** Runs systemctl; throws with what it says where it does not succeed. */
  async systemctl(...args: string[]): Promise<string> {
    return mustRun('systemctl', this.isThisMachine ? args : [`--root=${this.root}`, ...args])
  }

  /** `isOurs`: `makeUser` has made it. */
  async account(user: string): Promise<(Account & { readonly isOurs: boolean }) | null> {
    const [, , uid, gid, comment] = (await this.entry('passwd', user)) ?? []
    return uid === undefined ? null : { uid: Number(uid), gid: Number(gid), isOurs: comment === MADE_HERE }
  }

  /** By name or by ID. */
  async group(key: string): Promise<{ name: string; gid: number } | null> {
    const [name, , gid] = (await this.entry('group', key)) ?? []
    return name === undefined ? null : { name, gid: Number(gid) }
  }

  /** A system user without home, shell or password, and a group of the same name. */
  async makeUser(user: string): Promise<void> {
    const where = this.isThisMachine ? [] : ['--prefix', this.root]
    const nothing = ['--no-create-home', '--home-dir', '/nonexistent', '--shell', '/usr/sbin/nologin']
    await mustRun('useradd', [...where, '--system', '--user-group', ...nothing, '--comment', MADE_HERE, user])
  }

  async removeUser(user: string): Promise<void> {
    await mustRun('userdel', [...(this.isThisMachine ? [] : ['--prefix', this.root]), user])
  }

  /** A line of passwd(5) or group(5): here with what name services add. */
  private async entry(database: 'passwd' | 'group', key: string): Promise<string[] | null> {
    if (this.isThisMachine) {
      const { code, stdout } = await run('getent', [database, key])
      return code === 0 ? stdout.trim().split(':') : null
    }
    const lines = (await readFile(this.at(`/etc/${database}`), 'utf8').catch(() => '')).split('\n').map(line => line.split(':'))
    return lines.find(([name, , id]) => name === key || id === key) ?? null
  }
}

/** Runs a program of the system to its end. Throws a `ConfigError` where there is none. */
export function run(program: string, args: readonly string[]): Promise<Ran> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] })
    let [stdout, stderr] = ['', '']
    child.stdout.on('data', chunk => {
      stdout += chunk
    })
    child.stderr.on('data', chunk => {
      stderr += chunk
    })
    child.once('error', error =>
      reject('code' in error && error.code === 'ENOENT' ? new ConfigError(`there is no ${program} here`) : error)
    )
    child.once('close', code => resolve({ code, stdout, stderr }))
  })
}

async function mustRun(program: string, args: readonly string[]): Promise<string> {
  const { code, stdout, stderr } = await run(program, args)
  if (code !== 0) throw new Error(`${program} ${args.join(' ')} ended with ${code}: ${stderr.trim()}`)
  return stdout
}
