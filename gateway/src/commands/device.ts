/** `tidemark-gateway device`: what the registry holds, and changes of it. */
import type { Command } from 'commander'
import { z } from 'zod'
import { textTable } from '../archive/text-table.js'
import { ConfigError } from '../config.js'
import { type DeviceJson, deviceJson, deviceSchema } from '../http/device-json.js'
import type { ConfigChange } from '../processor/config-wanted.js'
import { type DeviceSettings, deviceIdSchema, deviceSettingsSchema } from '../processor/registry.js'
import { appendChange, readRegistry } from './registry-on-disk.js'
import { askGateway, findGateway } from './running-gateway.js'

interface SetOptions {
  readonly dataDir: string
  /** false: cleared. */
  readonly profile?: string | false
  readonly site?: string | false
  readonly retired?: boolean
  readonly interval?: string
  readonly commitInterval?: string
  readonly maxRate?: string
  readonly logLevel?: string
  readonly resetConfig?: boolean
}

interface ShowOptions {
  readonly dataDir: string
  readonly json?: boolean
}

const HELP = `
The registry is part of the log: a change is taken in by the running gateway, or, where none runs, written for the next start.
A retired device is no longer waited for, by the fleet watermark or by completeness; what it sends is taken in as ever.

--interval, --commit-interval, --max-rate and --log-level configure the agent itself: they go before what its file says, reach it at
once or when it connects, and "device show" tells whether it has applied them, or why it refuses. A retired device gets none.

Examples:
  $ tidemark-gateway device set meter-1 --profile host --site "hall 2"
  $ tidemark-gateway device set pump-7 --retired
  $ tidemark-gateway device set pump-7 --interval 10s --max-rate 500/s
  $ tidemark-gateway device show pump-7
  $ tidemark-gateway device list
`

const SET_EXAMPLES = `
Examples:
  $ tidemark-gateway device set meter-1 --profile host --site "hall 2" --data-dir ./data
  $ tidemark-gateway device set pump-7 --interval 10s --log-level debug
  $ tidemark-gateway device set pump-7 --reset-config --max-rate 500/s
`

export function addDeviceCommand(program: Command): void {
  const device = program.command('device').description('show and change the device registry').addHelpText('after', HELP)
  device
    .command('set')
    .description('set something of a device; one that is not known is registered')
    .argument('<id>', 'the device ID')
    .option('--profile <name>', 'the profile of its JSON readings that name none')
    .option('--no-profile', 'it has no default profile any more')
    .option('--site <name>', 'where it stands')
    .option('--no-site', 'it stands nowhere in particular')
    .option('--retired', 'it is no longer waited for')
    .option('--no-retired', 'it is waited for again')
    .option('--interval <duration>', 'its agent takes a reading so often, like 5s')
    .option('--commit-interval <duration>', 'its agent keeps a reading unacked and unwritten at most so long (durability spill), like 30s')
    .option('--max-rate <rate>', 'its agent publishes no faster, like 500/s (readings) or 64KiB/s')
    .option('--log-level <level>', 'how much its agent logs: trace, debug, info, warn, error, fatal or silent')
    .option('--reset-config', 'its agent goes by its own file again, but for what is set with this')
    .option('--data-dir <folder>', "the gateway's data folder", './data')
    .addHelpText('after', SET_EXAMPLES)
    .action(setDevice)
  device
    .command('list')
    .description('all devices, by ID')
    .option('--data-dir <folder>', "the gateway's data folder", './data')
    .option('--json', 'print a JSON array')
    .action(async ({ dataDir, json }: ShowOptions) => {
      const devices = await readDevices(dataDir)
      process.stdout.write(json ? `${JSON.stringify(devices)}\n` : listText(devices))
    })
  device
    .command('show')
    .description('one device')
    .argument('<id>', 'the device ID')
    .option('--data-dir <folder>', "the gateway's data folder", './data')
    .option('--json', 'print a JSON object')
    .action(async (id: string, { dataDir, json }: ShowOptions) => {
      const device = await readDevice(dataDir, checkedId(id))
      process.stdout.write(json ? `${JSON.stringify(device)}\n` : showText(device))
    })
}

async function setDevice(id: string, options: SetOptions): Promise<void> {
  const { dataDir, profile, site, retired } = options
  const deviceId = checkedId(id)
  const settings = checkedSettings({
    ...(profile !== undefined && { profile: profile || null }),
    ...(site !== undefined && { site: site || null }),
    ...(retired !== undefined && { retired }),
    ...configOf(options)
  })
  const gateway = await findGateway(dataDir)
  if (gateway === null) {
    appendChange(dataDir, deviceId, settings)
    process.stdout.write(`${deviceId}: written to the log; it holds from the next start of the gateway\n`)
    return
  }
  process.stdout.write(showText(await askGateway(gateway, `/v1/devices/${deviceId}`, deviceSchema, settings)))
}

/** What is to change of the device's configuration; with a reset, null stands for what is not named. */
function configOf({ interval, commitInterval, maxRate, logLevel, resetConfig }: SetOptions): Pick<DeviceSettings, 'config'> {
  const named = {
    ...(interval !== undefined && { interval }),
    ...(commitInterval !== undefined && { commit_interval: commitInterval }),
    ...(maxRate !== undefined && { max_rate: maxRate }),
    ...(logLevel !== undefined && { log_level: logLevel as NonNullable<ConfigChange['log_level']> })
  }
  if (resetConfig) return { config: { interval: null, commit_interval: null, max_rate: null, log_level: null, ...named } }
  return Object.keys(named).length > 0 ? { config: named } : {}
}

async function readDevices(dataDir: string): Promise<DeviceJson[]> {
  const gateway = await findGateway(dataDir)
  if (gateway === null) return readRegistry(dataDir).map(deviceJson)
  return (await askGateway(gateway, '/v1/devices', z.object({ devices: z.array(deviceSchema) }))).devices
}

async function readDevice(dataDir: string, deviceId: string): Promise<DeviceJson> {
  const gateway = await findGateway(dataDir)
  if (gateway !== null) return await askGateway(gateway, `/v1/devices/${deviceId}`, deviceSchema)
  const row = readRegistry(dataDir).find(each => each.deviceId === deviceId)
  if (row === undefined) throw new ConfigError(`there is no device ${deviceId}: it has sent nothing, and nobody has set it`)
  return deviceJson(row)
}

function checkedId(id: string): string {
  const checked = deviceIdSchema.safeParse(id)
  if (!checked.success) throw new ConfigError(`"${id}" ${checked.error.issues[0].message}`)
  return checked.data
}

function checkedSettings(settings: DeviceSettings): DeviceSettings {
  const checked = deviceSettingsSchema.safeParse(settings)
  if (checked.success) return checked.data
  const [{ path, message }] = checked.error.issues
  throw new ConfigError(`--${String(path.at(-1)).replaceAll('_', '-')}: ${message}`)
}

function listText(devices: readonly DeviceJson[]): string {
  const rows = devices.map(device => [
    device.device_id,
    stateOf(device),
    device.profile ?? '',
    device.site ?? '',
    device.status?.state ?? '',
    device.last_seen ?? 'never',
    device.watermark ?? '',
    configText(device)
  ])
  const header = ['device', 'state', 'profile', 'site', 'status', 'last seen', 'watermark', 'configuration']
  const devicesText = `(${devices.length} ${devices.length === 1 ? 'device' : 'devices'})\n`
  return textTable(
    header,
    rows,
    header.map(() => false)
  ).concat(devicesText)
}

function showText(device: DeviceJson): string {
  const { status } = device
  const lines: [string, string][] = [
    ['device', device.device_id],
    ['state', stateOf(device)],
    ['profile', device.profile ?? 'none by default'],
    ['site', device.site ?? 'not set'],
    ['registered', device.registered_at],
    ['last seen', device.last_seen ?? 'never'],
    ['watermark', device.watermark ?? 'none yet'],
    ['status', status === null ? 'none sent' : `${status.state} since ${status.since}, session ${status.session}`]
  ]
  if (status?.agent != null) lines.push(['agent', `${status.agent}, epoch ${status.epoch}`])
  if (device.config !== null) lines.push(['configured', configText(device)])
  for (const [key, value] of Object.entries(device.config?.settings ?? {})) lines.push([`  ${key}`, String(value)])
  const width = Math.max(...lines.map(([name]) => name.length))
  return lines.map(([name, value]) => `${name.padEnd(width)}  ${value}\n`).join('')
}

/** Revision and state; empty where nothing was ever set. */
function configText({ config }: DeviceJson): string {
  if (config === null) return ''
  const state = config.state === 'withheld' ? 'withheld: the device is retired' : config.state
  return `revision ${config.revision} ${state}${config.refused === null ? '' : `: ${config.refused.replace(/\p{Cc}/gu, ' ')}`}`
}

function stateOf(device: DeviceJson): string {
  if (device.retired) return 'retired'
  if (device.last_seen === null) return 'registered'
  return device.ended ? 'ended' : device.idle ? 'idle' : 'live'
}
