/** Writes a configuration, and the profile that it needs, as text with comments for the person who opens it next. Pure. */
import { HOST, type Metric } from '@tidemark/protocol'
import { stringify } from 'yaml'
import type { Plan, SourceChoice } from './plan.js'
import type { Sensor } from './sensors.js'

/** @param agentVersion of the agent that writes it */
export function configText(plan: Plan, agentVersion: string): string {
  const { deviceId, urls, interval, bufferPath, profileFile } = plan
  const [url] = urls
  return `# Tidemark agent, written by \`tidemark-agent init\` ${agentVersion}. Every key is described in the agent's README.
# After a change: sudo systemctl reload tidemark-agent (or kill -HUP); device_id and buffer need a restart.

# One agent a device, and no other device with this name.
device_id: ${scalar(deviceId)}

gateway:
${urls.length === 1 ? `  url: ${scalar(url)}` : `  urls: # tried in this order\n${urls.map(each => `    - ${scalar(each)}`).join('\n')}`}
  # mqtt://USER:PASSWORD@HOST:PORT, or mqtts:// for TLS. Batches can be posted while MQTT does not get through:
  # http: http://HOST:8080

${profileLines(plan)}

buffer:
  path: ${scalar(bufferPath)}
${durabilityLines(plan)}
  # commit_interval: 30s # of spill: what a power cut may take
  # max_bytes: 1GiB # what is held while the gateway is away; then older readings are thinned, and that is declared
  # min_free: 64MiB # of the disk, left to others

sources:
${plan.sources.map(source => sourceLines(source, plan)).join('\n')}
  # Also modbus, mqtt, http and exec: see the examples of the agent's package. Their metrics must be in the profile${profileFile === null ? ': write\n  # a profile_file of your own' : ''}.

# Between two readings. Instead: schedule: "*/5 * * * *" (cron, UTC)
interval: ${scalar(interval)}

# publish:
#   max_rate: 500/s # or 64KiB/s: so that a backlog does not choke the link
# log_level: info
`
}

function profileLines({ profileFile, sources }: Plan): string {
  if (profileFile === null) return `# What a reading holds.\nprofile: ${sources.includes('simulated') ? 'rotating-machine' : 'host'}`
  return `# What a reading holds. The gateway must know this profile too: name a copy under \`profiles\` in its configuration.\nprofile_file: ${scalar(`./${profileFile}`)}`
}

function durabilityLines({ durability, disk, bufferPath }: Plan): string {
  const where =
    disk.name === null ? 'no SD card was found below it' : disk.isCard ? `${disk.name} is an SD card or eMMC` : `${disk.name} is no SD card`
  const meaning =
    durability === 'strict'
      ? 'strict: each reading is on disk before it is published.'
      : 'spill: published from memory, and written only when it is not acked within commit_interval.'
  return `  # ${meaning} ${durability === 'strict' ? 'Nothing that was read is lost.' : 'It spares a card that wears out.'}
  # The other one: ${durability === 'strict' ? 'spill, for SD cards' : 'strict, for disks'}. For ${comment(bufferPath)}: ${where}.
  durability: ${durability}`
}

function sourceLines(source: SourceChoice, { root, sensors }: Plan): string {
  const rootLine = root === '/' ? '' : `\n    root: ${scalar(root)}`
  switch (source) {
    case 'simulated':
      return '  # A machine that does not exist, to try things out.\n  - type: simulated\n    seed: 1'
    case 'system':
      return `  # This machine: use of processor, memory, swap and disk, load, uptime, the warmest temperatures.\n  - type: system${rootLine}`
    case 'iio':
    case 'w1':
    case 'hwmon':
    case 'thermal': {
      const lines = sensors.filter(({ kind }) => kind === source).map(sensorLine)
      return `  - type: ${source}${rootLine}\n    metrics:\n${lines.join('\n')}`
    }
    default:
      return source satisfies never
  }
}

function sensorLine({ metric, mapping, value, problem, quantity }: Sensor): string {
  const keys = Object.entries(mapping).map(([key, name]) => `${key}: ${flowScalar(name)}`)
  const now = problem === null ? `${Number(value!.toPrecision(6))} ${quantity.unit}`.trim() : `could not be read: ${problem}`
  return `      ${metric}: { ${keys.join(', ')} } # ${comment(now)}`
}

/** @param name of the profile; one of its own for each set of metrics, since the gateway knows profiles by name */
export function profileText(plan: Plan, name: string): string {
  const machine = plan.sources.includes('system') ? HOST.metrics.map(metric => ({ ...metric, required: false })) : []
  const found = plan.sensors.map(({ metric, quantity }): Partial<Metric> => ({ name: metric, ...withoutNull(quantity) }))
  const lines = [...machine, ...found].map(metric => `  - ${stringify(spare(metric), { collectionStyle: 'flow', lineWidth: 0 }).trimEnd()}`)
  return `# What a reading of ${comment(plan.deviceId)} holds, written by \`tidemark-agent init\`. The gateway must have the same file under \`profiles\`.
# Devices with the same metrics can share it. When you change the metrics, give it the next version.
# min and max: the gateway quarantines a reading with a value outside. Features (rolling windows) can be added: see protocol/README.md.
name: ${scalar(name)}
version: 1
interval: ${scalar(plan.interval)}
metrics:
${lines.join('\n')}
`
}

function withoutNull({ resolution, ...quantity }: Sensor['quantity']): Partial<Metric> {
  return resolution === null ? quantity : { ...quantity, resolution }
}

/** Without what is so by default. */
function spare(metric: Partial<Metric>): object {
  const isDefault = (key: string, value: unknown) =>
    value === undefined ||
    value === '' ||
    value === false ||
    (key === 'type' && value === 'float') ||
    (key === 'on_out_of_range' && value === 'quarantine')
  return Object.fromEntries(Object.entries(metric).filter(([key, value]) => !isDefault(key, value)))
}

/** A text on one line of YAML. */
function scalar(text: string): string {
  return stringify(text, { lineWidth: 0, blockQuote: false }).trimEnd()
}

/** The same within { }, where a comma ends a plain text. */
function flowScalar(text: string): string {
  return /^[A-Za-z0-9._-]+$/.test(text) ? scalar(text) : JSON.stringify(text)
}

/** What a machine says of itself must not leave its comment. */
function comment(text: string): string {
  return text.replace(/[\p{C}\p{Zl}\p{Zp}]+/gu, ' ')
}
