/** Makes sure that the service's user can read what it runs and write its buffer, before systemd has to find out. */
import { chmod, chown, mkdir, open, readdir, rm, stat } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { readConfig } from '../config.js'
import { ConfigError } from '../config-error.js'
import type { Account } from './host.js'
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

/** Lets the user's group read the configuration, as far as root may decide that; throws a `ConfigError` where it still cannot be read. */
export async function grantConfig(user: string, account: Account, config: string): Promise<void> {
  const readable = () => asUser(account, () => canRead(config))
  if (!(await readable())) {
    const { uid, mode } = await stat(config)
    await chown(config, uid, account.gid)
    await chmod(config, (mode & 0o777) | 0o040)
    if (!(await readable())) throw new ConfigError(`${user} may not read ${config}: put it into /etc/tidemark`)
  }
  // what it names, such as a profile, too
  await asUser(account, () => readConfig(config))
}

/** Makes the buffer's folder, and gives the user what an agent that ran as somebody else has left there. */
export async function grantBuffer(user: string, account: Account, bufferPath: string): Promise<void> {
  const folder = dirname(bufferPath)
  if ((await mkdir(folder, { recursive: true, mode: 0o750 })) !== undefined) await chown(folder, account.uid, account.gid)
  const state = stateDirectory(bufferPath)
  // systemd would do so when it starts the service
  if (state !== null && folder === stateFolder(state)) await chown(folder, account.uid, account.gid)
  for (const file of await bufferFiles(bufferPath)) await chown(file, account.uid, account.gid)
  if (!(await asUser(account, () => canWriteIn(folder))))
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

const BESIDE = /^(\.(lock|mark|sock|damaged-\d+))?(-(wal|shm|journal))?$/

async function canRead(path: string): Promise<boolean> {
  // access(2) asks for the real user, not for the effective one
  const file = await open(path, 'r').catch(() => null)
  await file?.close()
  return file !== null
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
