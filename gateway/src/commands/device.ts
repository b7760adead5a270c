/** `tidemark-gateway device`: what the registry holds, and changes of it. */
import type { Command } from 'commander'
import { z } from 'zod'
import { textTable } from '../archive/text-table.js'
import { ConfigError } from '../config.js'
import { type DeviceJson, deviceJson, deviceSchema } from '../http/device-json.js'
import { type DeviceSettings, deviceIdSchema, deviceSettingsSchema } from '../processor/registry.js'
import { appendChange, readRegistry } from './registry-on-disk.js'
import { askGateway, findGateway } from './running-gateway.js'

interface SetOptions {
  readonly dataDir: string
  /** false: cleared. */
  readonly profile?: string | false
  readonly site?: string | false
  readonly retired?: boolean
}

interface ShowOptions {
  readonly dataDir: string
  readonly json?: boolean
}

const HELP = `
The registry is part of the log: a change is taken in by the running gateway, or, where none runs, written for the next start.
A retired device is no longer waited for, by the fleet watermark or by completeness; what it sends is taken in as ever.

Examples:
  $ tidemark-gateway device set meter-1 --profile host --site "hall 2"
  $ tidemark-gateway device set pump-7 --retired
  $ tidemark-gateway device list
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
    .option('--data-dir <folder>', "the gateway's data folder", './data')
    .addHelpText('after', '\nExample:\n  $ tidemark-gateway device set meter-1 --profile host --site "hall 2" --data-dir ./data')
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

async function setDevice(id: string, { dataDir, profile, site, retired }: SetOptions): Promise<void> {
  const deviceId = checkedId(id)
  const settings = checkedSettings({
    ...(profile !== undefined && { profile: profile || null }),
    ...(site !== undefined && { site: site || null }),
    ...(retired !== undefined && { retired })
  })
  const gateway = await findGateway(dataDir)
  if (gateway === null) {
    appendChange(dataDir, deviceId, settings)
    process.stdout.write(`${deviceId}: written to the log; it holds from the next start of the gateway\n`)
    return
  }
  process.stdout.write(showText(await askGateway(gateway, `/v1/devices/${deviceId}`, deviceSchema, settings)))
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
  throw new ConfigError(`--${path.join('.')}: ${message}`)
}

function listText(devices: readonly DeviceJson[]): string {
  const rows = devices.map(device => [
    device.device_id,
    stateOf(device),
    device.profile ?? '',
    device.site ?? '',
    device.status?.state ?? '',
    device.last_seen ?? 'never',
    device.watermark ?? ''
  ])
  const header = ['device', 'state', 'profile', 'site', 'status', 'last seen', 'watermark']
  const devicesText = `(${devices.length} ${devices.length === 1 ? 'device' : 'devices'})\n`
  return textTable(
    header,
    rows,
    header.map(() => false)
  ).concat(devicesText)
}

function showText(device: DeviceJson): string {
  const { status } = device
  const lines = [
    ['device', device.device_id],
    ['state', stateOf(device)],
    ['profile', device.profile ?? 'none by default'],
    ['site', device.site ?? 'not set'],
    ['registered', device.registered_at],
    ['last seen', device.last_seen ?? 'never'],
    ['watermark', device.watermark ?? 'none yet'],
    ['status', status === null ? 'none sent' : `${status.state} since ${status.since}, session ${status.session}`],
    ...(status?.agent == null ? [] : [['agent', `${status.agent}, epoch ${status.epoch}`]])
  ]
  return lines.map(([name, value]) => `${name.padEnd(10)}  ${value}\n`).join('')
}

function stateOf(device: DeviceJson): string {
  if (device.retired) return 'retired'
  if (device.last_seen === null) return 'registered'
  return device.ended ? 'ended' : device.idle ? 'idle' : 'live'
}
