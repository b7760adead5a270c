/** Who does the same job: ten values a second, published over MQTT with QoS 1. The agent, collectd with its mqtt plugin, Node-RED. */
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { installedNodeRed } from '../peers/node-red.js'
import { freePort } from '../run/gateway-process.js'
import { agentCommand, writeAgentConfig } from './processes.js'

export const CONTENDERS = ['agent', 'collectd', 'node-red'] as const
export type ContenderName = (typeof CONTENDERS)[number]

export interface Contender {
  readonly name: ContenderName
  /** Program and arguments. */
  readonly command: readonly string[]
  /** What the topics begin with that carry its values. */
  readonly topics: string
  /** How many messages it needs for ten values; a reading takes one, collectd one for each type instance. */
  readonly messagesPerS: number
}

/**
 * Writes what a contender needs into a folder; Node-RED is installed where it is not there yet.
 * @param cli the agent's program, as a device has it
 */
export async function contender(name: ContenderName, folder: string, cli: string, mqttPort: number): Promise<Contender> {
  mkdirSync(folder, { recursive: true })
  if (name === 'agent') return agent(folder, cli, mqttPort)
  if (name === 'collectd') return collectd(folder, mqttPort)
  return await nodeRed(folder, mqttPort)
}

function agent(folder: string, cli: string, mqttPort: number): Contender {
  const buffer = { path: 'buffer.sqlite', durability: 'spill' }
  const config = writeAgentConfig(folder, `mqtt://127.0.0.1:${mqttPort}`, { buffer })
  return { name: 'agent', command: agentCommand(cli, config), topics: 'tm/1/bench/batch', messagesPerS: 1 }
}

/** Of the load three values, of the memory six, and the uptime. Its host name is also its MQTT client ID, which no other may have. */
function collectd(folder: string, mqttPort: number): Contender {
  const path = join(folder, 'collectd.conf')
  writeFileSync(
    path,
    `Interval 1
Hostname "machine"
FQDNLookup false
BaseDir "${folder}"
PIDFile "${folder}/collectd.pid"
LoadPlugin load
LoadPlugin memory
LoadPlugin uptime
LoadPlugin mqtt
<Plugin mqtt>
  <Publish "bench">
    Host "127.0.0.1"
    Port "${mqttPort}"
    QoS 1
    Prefix "collectd"
  </Publish>
</Plugin>
`
  )
  const program = ['/usr/sbin/collectd', '/usr/local/sbin/collectd'].find(existsSync) ?? 'collectd'
  return { name: 'collectd', command: [program, '-f', '-C', path], topics: 'collectd/machine/', messagesPerS: 8 }
}

/** With its defaults, its editor among them, since that is how it is installed; without its daily call home. */
async function nodeRed(folder: string, mqttPort: number): Promise<Contender> {
  const cli = installedNodeRed()
  const values =
    'const w = Math.sin(Date.now() / 40000)\nmsg.payload = JSON.stringify({ t: Date.now(), v: Array.from({ length: 10 }, (_, i) => i + w) })\nreturn msg'
  // a node without a place on the sheet would be taken for one that only configures
  const flow = [
    { id: 'tab', type: 'tab', label: 'bench' },
    {
      id: 'broker',
      type: 'mqtt-broker',
      broker: '127.0.0.1',
      port: String(mqttPort),
      clientid: 'node-red',
      keepalive: '60',
      cleansession: true,
      protocolVersion: '4',
      autoConnect: true
    },
    {
      id: 'inject',
      x: 100,
      y: 100,
      z: 'tab',
      type: 'inject',
      props: [{ p: 'payload' }],
      repeat: '1',
      once: true,
      payloadType: 'date',
      wires: [['values']]
    },
    { id: 'values', x: 300, y: 100, z: 'tab', type: 'function', func: values, outputs: 1, wires: [['out']] },
    { id: 'out', x: 500, y: 100, z: 'tab', type: 'mqtt out', topic: 'node-red/bench', qos: '1', broker: 'broker', wires: [] }
  ]
  writeFileSync(join(folder, 'flows.json'), JSON.stringify(flow))
  const settings = { flowFile: 'flows.json', uiHost: '127.0.0.1', uiPort: await freePort(), telemetry: { enabled: false } }
  writeFileSync(join(folder, 'settings.js'), `module.exports = ${JSON.stringify(settings)}\n`)
  const command = [process.execPath, cli, '--userDir', folder, '--settings', join(folder, 'settings.js')]
  return { name: 'node-red', command, topics: 'node-red/bench', messagesPerS: 1 }
}
