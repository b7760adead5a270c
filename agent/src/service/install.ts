/**
 * `tidemark-agent install`: makes the agent a service of systemd, or brings that up to date: user, rights, unit, start. The
 * configuration and the program are looked at before anything is changed.
 */
import { chmod, mkdir, readFile, rename, stat, writeFile } from 'node:fs/promises'
import { dirname, isAbsolute, join, relative, resolve } from 'node:path'
import { type Config, readConfig } from '../config.js'
import { ConfigError } from '../config-error.js'
import { checkProgram, grantBuffer, grantConfig, isFleeting, isInHome } from './access.js'
import { type Account, Host, run } from './host.js'
import { type DeviceAccess, markerOf, SERVICE, type UnitFacts, unitText } from './unit.js'

const CONFIG = '/etc/tidemark/agent.yaml'
const USER = 'tidemark'

/** Whose rights a user has that is not made yet: those of all. */
const NOBODY: Account = { uid: 65_534, gid: 65_534 }

/** What commands of `exec` sources may want to reach: serial lines, pins, buses, the Pi's vcgencmd. */
const DEVICE_GROUPS = ['dialout', 'gpio', 'i2c', 'spi', 'video']

export interface InstallOptions {
  readonly config?: string
  readonly user?: string
  /** Beside those that the sources need. */
  readonly group?: readonly string[]
  readonly root: string
  /** Where that system has Node and the agent, if not where this one has them. */
  readonly node?: string
  readonly agent?: string
  readonly dryRun?: true
}

interface InstallFacts extends UnitFacts {
  /** What the configuration names, where it is here. */
  readonly namedFiles: readonly string[]
}

/** Who is to be run. */
export interface Program {
  readonly node: string
  readonly entry: string
  readonly version: string
}

/**
 * Throws a `ConfigError` for what a person must correct first.
 * @returns what was done, as lines; of a dry run the unit
 */
export async function install(options: InstallOptions, { version, ...here }: Program): Promise<string[]> {
  const program = { version, node: options.node ?? here.node, entry: options.agent ?? here.entry }
  const host = new Host(resolve(options.root))
  if (options.dryRun !== true) host.check('install')
  const before = await readFile(host.unitPath, 'utf8').catch(() => null)
  const facts = await gatherFacts(host, options, program, before)
  const unit = unitText(facts)
  if (options.dryRun === true) return [unit.trimEnd()]

  const { user, config, bufferPath, namedFiles } = facts
  if (host.isThisMachine) await checkProgram(user, (await host.account(user)) ?? NOBODY, program.node, program.entry)
  const lines = await ensureUser(host, user)
  const account = (await host.account(user))!
  await grantConfig(host, user, account, host.at(config), namedFiles)
  await grantBuffer(host, user, account, bufferPath)
  await writeUnit(host.unitPath, unit)
  if (host.isThisMachine) await host.systemctl('daemon-reload')
  await host.systemctl('enable', SERVICE)
  lines.push(`unit      ${host.unitPath} (${before === null ? 'new' : before === unit ? 'as it was' : 'updated'}), enabled`)
  lines.push(`config    ${config}`, `buffer    ${bufferPath}`)
  if (host.isThisMachine) await start(host)
  lines.push(`state     ${host.isThisMachine ? 'running' : 'starts with the system'}`)
  return [...lines, 'logs      tidemark-agent logs -f', `status    sudo tidemark-agent status --config ${config}`]
}

async function gatherFacts(host: Host, options: InstallOptions, program: Program, before: string | null): Promise<InstallFacts> {
  const marker = before === null ? null : markerOf(before)
  const path = options.config === undefined ? (marker?.config ?? CONFIG) : resolve(options.config)
  if ((await stat(host.at(path)).catch(() => null)) === null)
    throw new ConfigError(`there is no configuration file ${host.at(path)}: write one with tidemark-agent init, or name one with --config`)
  const config = await readConfig(host.at(path), host.root)
  const named = config.namedFiles.map(file => inRoot(host, file))
  const bufferPath = inRoot(host, config.bufferPath)
  const user = options.user ?? marker?.user ?? USER
  if (!/^[a-z_][a-z0-9_-]{0,30}$/.test(user)) throw new ConfigError(`--user: "${user}" is no name of a user`)
  const account = await host.account(user)
  if (account?.uid === 0) throw new ConfigError('--user: the agent runs without the rights of root')
  checkPlaces([
    [options.node === undefined ? 'node' : '--node', program.node],
    [options.agent === undefined ? 'the agent' : '--agent', program.entry],
    ['--config', path],
    ['buffer.path', bufferPath],
    ...named.map(file => ['what the configuration names', file] as const)
  ])
  return {
    agentVersion: program.version,
    node: program.node,
    entry: program.entry,
    config: path,
    bufferPath,
    user,
    group: account === null ? user : ((await host.group(String(account.gid)))?.name ?? String(account.gid)),
    groups: await groupsFor(host, config, options.group ?? []),
    devices: devicesFor(config),
    needsHome: [program.node, program.entry, path, bufferPath, ...named].some(isInHome),
    ringBytes: config.buffer.ringBytesMax,
    namedFiles: config.namedFiles
  }
}

function checkPlaces(places: readonly (readonly [what: string, path: string])[]): void {
  for (const [what, path] of places) {
    if (isFleeting(path)) throw new ConfigError(`${what}: ${path} does not last, and a service does not see it: put it elsewhere`)
    if (!isAbsolute(path)) throw new ConfigError(`${what}: ${path} must be a path from the root on: a service starts in no folder of yours`)
    if (/[\r\n]/.test(path)) throw new ConfigError(`${what}: a unit cannot name a path of several lines`)
  }
}

/** A buffer beside the configuration was found below the root. */
function inRoot(host: Host, path: string): string {
  const below = relative(host.root, path)
  return host.isThisMachine || below.startsWith('..') ? path : join('/', below)
}

/** The groups that own what the sources open, as far as the system has them, and those that were asked for. */
async function groupsFor(host: Host, { sources }: Config, asked: readonly string[]): Promise<string[]> {
  const groups = new Set<string>()
  for (const source of sources) {
    if (source.type === 'modbus' && source.serial !== undefined) groups.add(await ownerOf(host, source.serial.path))
    if (source.type === 'exec') for (const group of DEVICE_GROUPS) groups.add(group)
  }
  const there = await Promise.all([...groups].map(async group => ((await host.group(group)) === null ? [] : [group])))
  for (const group of asked) if ((await host.group(group)) === null) throw new ConfigError(`--group: there is no group "${group}"`)
  return [...new Set([...there.flat(), ...asked])]
}

/** The group of a serial line; the usual one where it is not plugged in. */
async function ownerOf(host: Host, device: string): Promise<string> {
  const owned = await stat(host.at(device)).catch(() => null)
  const group = owned === null ? null : await host.group(String(owned.gid))
  return group === null || group.gid === 0 ? 'dialout' : group.name
}

function devicesFor({ sources }: Config): DeviceAccess {
  if (sources.some(({ type }) => type === 'exec')) return 'any'
  return sources.some(source => source.type === 'modbus' && source.serial !== undefined) ? 'serial' : 'none'
}

async function ensureUser(host: Host, user: string): Promise<string[]> {
  if ((await host.account(user)) !== null) return [`user      ${user}`]
  await host.makeUser(user)
  return [`user      ${user} (new: a system user, without a password or a home)`]
}

/** Whole or not at all: systemd may read it at any time. */
async function writeUnit(path: string, text: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true })
  const draft = `${path}.new`
  await writeFile(draft, text)
  await chmod(draft, 0o644)
  await rename(draft, path)
}

/** Waits until it samples. */
async function start(host: Host): Promise<void> {
  try {
    await host.systemctl('restart', SERVICE)
  } catch (error) {
    const said = await run('journalctl', [`_SYSTEMD_UNIT=${SERVICE}`, '--output=cat', '--lines=1'])
    throw new Error(`the service is installed, but did not start: ${said.stdout.trim()} (more: tidemark-agent logs)`, { cause: error })
  }
}
