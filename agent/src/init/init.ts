/**
 * `tidemark-agent init`: looks which sensors the machine has, asks or takes options, and writes a configuration. Everything is
 * checked before the first byte is written, and a configuration that is there is never overwritten unless told to.
 */
import { chmod, chown, link, mkdir, rename, rm, stat, writeFile } from 'node:fs/promises'
import { dirname, isAbsolute, join, relative, resolve } from 'node:path'
import { type Profile, profileSchema } from '@tidemark/protocol'
import { parse } from 'yaml'
import type { z } from 'zod'
import { readConfig, withoutSecrets } from '../config.js'
import { ConfigError } from '../config-error.js'
import { configSchema } from '../config-schema.js'
import { didYouMean } from '../nearest.js'
import { configText, profileText } from './config-text.js'
import { type Disk, diskOf } from './disk.js'
import {
  type Durability,
  durabilityFor,
  intervalFor,
  kindsFound,
  type Plan,
  SOURCE_CHOICES,
  type SourceChoice,
  sourcesByDefault
} from './plan.js'
import { findSensors, type Sensor } from './sensors.js'

/** Where a service's configuration and buffer are. */
const SERVICE_CONFIG = '/etc/tidemark/agent.yaml'
const SERVICE_BUFFER = '/var/lib/tidemark/buffer.sqlite'

export interface InitOptions {
  readonly deviceId?: string
  readonly gateway?: readonly string[]
  readonly output?: string
  readonly sources?: string
  readonly interval?: string
  readonly durability?: string
  readonly buffer?: string
  readonly root: string
  readonly yes?: true
  readonly force?: true
}

/** Of the shape of `configSchema`. */
type Key = 'device_id' | 'interval'

/**
 * @param isTerminal whether somebody can be asked
 * @returns what was done, as lines; holds no secrets
 */
export async function init(options: InitOptions, isTerminal: boolean, agentVersion: string): Promise<string[]> {
  const output = resolve(options.output ?? (process.getuid?.() === 0 ? SERVICE_CONFIG : 'agent.yaml'))
  if (options.force !== true && (await stat(output).catch(() => null)) !== null) throw alreadyThere(output)
  const asks = isTerminal && options.yes !== true
  const plan = await makePlan(options, asks, output)
  const texts = new Map([[output, configText(plan, agentVersion)]])
  if (plan.profileFile !== null) {
    const profile = profileText(plan, profileName(plan.deviceId))
    checked(profileSchema, parse(profile), 'the profile')
    texts.set(join(dirname(output), plan.profileFile), profile)
  }
  checked(configSchema, parse(texts.get(output)!), output)
  await makeFolder(dirname(output))
  // the profile first: a configuration that is there is whole
  for (const [path, text] of [...texts].reverse()) await write(path, text, path === output ? 0o600 : 0o644, options.force === true)
  return report(plan, output, (await readConfig(output)).profile)
}

const PROFILE_FILE = 'sensors.profile.yaml'

async function makePlan(options: InitOptions, asks: boolean, output: string): Promise<Plan> {
  const { root } = options
  const given = givenSources(options)
  const needed = asks ? [] : [options.deviceId === undefined ? '--device-id' : '', options.gateway === undefined ? '--gateway' : '']
  const missing = needed.filter(flag => flag !== '')
  if (missing.length > 0)
    throw new ConfigError(
      `${missing.join(' and ')} must be given${options.yes === true ? ': there is no default for it' : ' where no terminal is there to ask at'}`
    )
  if (options.deviceId !== undefined) refuse('--device-id', checkKey('device_id', options.deviceId))
  for (const url of options.gateway ?? []) refuse('--gateway', checkUrl(url))
  if (options.interval !== undefined) refuse('--interval', checkKey('interval', options.interval))
  const durability = givenDurability(options)
  if ((await stat(root).catch(() => null))?.isDirectory() !== true) throw new ConfigError(`--root: there is no folder ${root}`)

  const questions = asks ? await import('./questions.js') : null
  questions?.begin()
  const found = await findSensors(root)
  const deviceId = options.deviceId ?? (await questions!.askDeviceId(answer => checkKey('device_id', answer)))
  const urls = options.gateway ?? (await questions!.askUrls(checkUrl))
  const sources = given ?? (questions === null ? sourcesByDefault(found) : await questions.askSources(found))
  checkSources(sources, found, root)
  const interval =
    options.interval ?? (await questions?.askInterval(intervalFor(sources), answer => checkKey('interval', answer))) ?? intervalFor(sources)
  const { path: bufferPath, folder } = bufferAt(options, output, deviceId)
  const disk = await diskOf(folder, root)
  return {
    deviceId,
    urls,
    sources,
    sensors: found.filter(({ kind }) => sources.includes(kind)),
    interval,
    durability: durability ?? (await questions?.askDurability(disk)) ?? durabilityFor(disk),
    disk,
    bufferPath,
    root,
    profileFile: sources.some(source => source !== 'system' && source !== 'simulated') ? PROFILE_FILE : null
  }
}

function givenSources({ sources }: InitOptions): SourceChoice[] | null {
  if (sources === undefined) return null
  return sources.split(',').map(word => {
    const name = word.trim()
    const choice = SOURCE_CHOICES.find(known => known === name)
    if (choice === undefined) throw new ConfigError(`--sources: there is no "${name}"${didYouMean(name, SOURCE_CHOICES)}`)
    return choice
  })
}

function givenDurability({ durability }: InitOptions): Durability | null {
  if (durability === undefined) return null
  if (durability !== 'strict' && durability !== 'spill') throw new ConfigError('--durability: must be strict or spill')
  return durability
}

function checkSources(sources: readonly SourceChoice[], found: readonly Sensor[], root: string): void {
  if (sources.includes('simulated') && sources.length > 1)
    throw new ConfigError('--sources: simulated stands by itself, it has a profile of its own')
  if (new Set(sources).size < sources.length) throw new ConfigError('--sources: names one twice')
  const kinds = kindsFound(found)
  const absent = sources.find(source => source !== 'system' && source !== 'simulated' && !kinds.includes(source))
  if (absent !== undefined)
    throw new ConfigError(`--sources: no ${absent} sensor was found below ${join(root, 'sys')}; found: ${['system', ...kinds].join(', ')}`)
}

/** Beside the configuration; for one below /etc, where no service may write, in the folder of the service. */
function bufferAt({ buffer }: InitOptions, output: string, deviceId: string): { path: string; folder: string } {
  const beside = dirname(output)
  const absolute = buffer !== undefined ? resolve(buffer) : output.startsWith('/etc/') ? SERVICE_BUFFER : join(beside, `${deviceId}.sqlite`)
  const below = relative(beside, absolute)
  return { path: below.startsWith('..') || isAbsolute(below) ? absolute : `./${below}`, folder: dirname(absolute) }
}

function checkKey(key: Key, value: string): string | undefined {
  return configSchema.shape[key].safeParse(value).error?.issues[0].message
}

/** The message never repeats the URL, which may hold a password. */
function checkUrl(url: string): string | undefined {
  return configSchema.shape.gateway.safeParse({ url }).error?.issues[0].message
}

function refuse(flag: string, problem: string | undefined): void {
  if (problem !== undefined) throw new ConfigError(`${flag}: ${problem}`)
}

/** What is rendered here must be what the loader takes: anything else is a mistake of ours. */
function checked(schema: z.ZodType, value: unknown, what: string): void {
  const { error } = schema.safeParse(value)
  if (error !== undefined) throw new Error(`${what} would be invalid: ${error.issues[0].path.join('.')}: ${error.issues[0].message}`)
}

/** Lower case, as profiles are called; of a device's own, since its sensors are. */
function profileName(deviceId: string): string {
  const name = `sensors-${deviceId.toLowerCase().replace(/[^a-z0-9_-]/g, '-')}`
  return name.slice(0, 64)
}

/** For all to enter, whatever the umask: the service's user must get at it. */
async function makeFolder(folder: string): Promise<void> {
  const made = await mkdir(folder, { recursive: true })
  if (made !== undefined) await chmod(folder, 0o755)
}

/** Whole or not at all. A file that is replaced keeps owner and rights: a service's user may be able to read it. */
async function write(path: string, text: string, mode: number, replaces: boolean): Promise<void> {
  const draft = `${path}.new-${process.pid}`
  try {
    await writeFile(draft, text, { mode, flag: 'wx' })
    await chmod(draft, mode)
    const old = replaces ? await stat(path).catch(() => null) : null
    if (old !== null) {
      await chmod(draft, old.mode & 0o777)
      await chown(draft, old.uid, old.gid)
    }
    if (replaces) await rename(draft, path)
    else await link(draft, path) // fails where one has appeared meanwhile
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : String(error)
    if (code === 'EEXIST') throw alreadyThere(path)
    throw new ConfigError(`cannot write ${path} (${code}): choose another place with --output${code === 'EACCES' ? ', or use sudo' : ''}`)
  } finally {
    await rm(draft, { force: true })
  }
}

function alreadyThere(path: string): ConfigError {
  return new ConfigError(`there is a file ${path} already: --force replaces it`)
}

function report({ urls, sensors, durability, disk, bufferPath, profileFile }: Plan, output: string, profile: Profile): string[] {
  const silent = sensors.filter(({ value }) => value === null)
  const isService = output.startsWith('/etc/')
  return [
    `wrote       ${output}`,
    ...(profileFile === null
      ? []
      : [`            ${join(dirname(output), profileFile)}: give the gateway a copy, under profiles in its configuration`]),
    `gateway     ${urls.map(withoutSecrets).join(', ')}`,
    `readings    ${profile.metrics.length} metrics, profile ${profile.name}`,
    ...silent.map(({ metric, problem }) => `            ${metric} could not be read: ${problem}`),
    `durability  ${durability}${describeDisk(disk)}; buffer ${bufferPath}`,
    `next        ${isService ? `sudo tidemark-agent install --config ${output}` : `tidemark-agent start --config ${relative('.', output)}`}`
  ]
}

function describeDisk({ name, isCard }: Disk): string {
  return name === null ? '' : ` (${name} is ${isCard ? 'an SD card or eMMC' : 'no SD card'})`
}
