/** Makes sure that the service's user can read what it runs and write its buffer, before systemd has to find out. */
import type { Stats } from 'node:fs'
import { chmod, chown, mkdir, open, readdir, rm, stat } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { ConfigError } from '../config-error.js'
import type { Account, Host } from './host.js'
import { stateDirectory, stateFolder } from './unit.js'

/** Folders of which a service sees nothing (`PrivateTmp=`), or that last only until the machine is switched off. */
const FLEETING = ['/tmp/', '/var/tmp/', '/run/', '/dev/shm/']

const HOMES = ['/home/', '/root/', '/run/user/']

export function isFleeting(path: string): boolean {
  return FLEETING.some(folder => path.startsWith(folder))
}

export function isInHome(path: string): boolean {
  return HOMES.some(folder => path.startsWith(folder))
}

/** Throws a `ConfigError` where the user cannot run node with the agent. */
export async function checkProgram(user: string, account: Account, node: string, entry: string): Promise<void> {
  for (const [what, path] of [
    ['node', node],
    ['the agent', entry]
  ]) {
    if (!(await asUser(account, () => canRead(path))))
      throw new ConfigError(
        `${user} may not read ${what}, ${path}: install ${what === 'node' ? 'Node' : 'it'} for all users, below /usr, not in a home`
      )
  }
}

/**
 * Lets the user's group read the configuration and what it names, as far as root may decide that; throws a `ConfigError` where
 * something still cannot be read. A named file that another group may read is left alone: that group would lose it.
 */
export async function grantConfig(host: Host, user: string, account: Account, config: string, named: readonly string[]): Promise<void> {
  const isReadable = (path: string) => (host.isThisMachine ? asUser(account, () => canRead(path)) : permitsReading(path, account))
  for (const path of [config, ...named]) {
    if (await isReadable(path)) continue
    const { uid, gid, mode } = await statNamed(path)
    const isOthers = path !== config && gid !== 0 && gid !== account.gid && (mode & 0o070) !== 0
    if (!isOthers) {
      await chown(path, uid, account.gid)
      await chmod(path, (mode & 0o777) | 0o040)
    }
    if (!(await isReadable(path)))
      throw new ConfigError(`${user} may not read ${path}: put ${path === config ? 'it' : 'a copy of it'} into /etc/tidemark`)
  }
}

async function statNamed(path: string): Promise<Stats> {
  return stat(path).catch(error => {
    throw new ConfigError(`the configuration names ${path}, which cannot be read (${error.code})`)
  })
}

/** Makes the buffer's folder, and gives the user what an agent that ran as somebody else has left there. */
export async function grantBuffer(host: Host, user: string, account: Account, bufferPath: string): Promise<void> {
  const folder = host.at(dirname(bufferPath))
  if ((await mkdir(folder, { recursive: true, mode: 0o750 })) !== undefined) await chown(folder, account.uid, account.gid)
  const state = stateDirectory(bufferPath)
  // systemd would do so when it starts the service
  if (state !== null && dirname(bufferPath) === stateFolder(state)) await chown(folder, account.uid, account.gid)
  for (const file of await bufferFiles(host.at(bufferPath))) await chown(file, account.uid, account.gid)
  if (host.isThisMachine && !(await asUser(account, () => canWriteIn(folder))))
    throw new ConfigError(`${user} may not write in ${folder}, where buffer.path is: put the buffer into /var/lib/tidemark`)
}

/** The buffer and all that lies beside it: `-wal`, `.lock`, `.damaged-1` and so on. */
export async function bufferFiles(bufferPath: string): Promise<string[]> {
  const name = basename(bufferPath)
  const entries = await readdir(dirname(bufferPath)).catch((): string[] => [])
  return entries
    .filter(entry => entry === name || (BESIDE.test(entry.slice(name.length)) && entry.startsWith(name)))
    .map(entry => join(dirname(bufferPath), entry))
}

const BESIDE = /^(\.(lock|mark|sock|salvaging|salvaged|damaged-\d+))?(-(wal|shm|journal))?$/

async function canRead(path: string): Promise<boolean> {
  // access(2) asks for the real user, not for the effective one
  const file = await open(path, 'r').catch(() => null)
  await file?.close()
  return file !== null
}

/** What its rights alone say: the folders above it may be closed here, and open where that system runs. */
async function permitsReading(path: string, account: Account): Promise<boolean> {
  const { uid, gid, mode } = await statNamed(path)
  return (mode & (uid === account.uid ? 0o400 : gid === account.gid ? 0o040 : 0o004)) !== 0
}

async function canWriteIn(folder: string): Promise<boolean> {
  const path = join(folder, `.tidemark-install-${process.pid}`)
  const file = await open(path, 'wx').catch(() => null)
  await file?.close()
  if (file !== null) await rm(path)
  return file !== null
}

/** Runs something with the rights of an account: root lays its own aside, for the whole process, and takes them up again. */
async function asUser<T>({ uid, gid }: Account, use: () => Promise<T>): Promise<T> {
  const groups = process.getgroups!()
  process.setgroups!([gid])
  process.setegid!(gid)
  process.seteuid!(uid)
  try {
    return await use()
  } finally {
    process.seteuid!(0)
    process.setegid!(0)
    process.setgroups!(groups)
  }
}
