/**
 * Node-RED behind mosquitto, with the flow that a user would build: MQTT in, JSON, a function that checks ranges and drops duplicates,
 * a file that lines are appended to. It is installed on demand, into a cache folder outside this project.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ROTATING_MACHINE } from '@tidemark/protocol'
import { UsageError } from '../replay/replay-error.js'
import { freePort } from '../run/gateway-process.js'
import type { Subscriber } from './mosquitto.js'
import { Program } from './program.js'

/** The last one that runs on Node 20. */
const VERSION = '4.1.8'

export async function nodeRed(dir: string, mqttPort: number, file: string): Promise<Subscriber> {
  const cli = installedNodeRed()
  const userDir = join(dir, 'node-red')
  mkdirSync(userDir, { recursive: true })
  const httpPort = await freePort()
  writeFileSync(join(userDir, 'flows.json'), JSON.stringify(flow(mqttPort, file)))
  const settings = { flowFile: 'flows.json', uiHost: '127.0.0.1', uiPort: httpPort, httpAdminRoot: false, httpNodeRoot: false }
  writeFileSync(join(userDir, 'settings.js'), `module.exports = ${JSON.stringify({ ...settings, telemetry: { enabled: false } })}\n`)
  const log = join(dir, 'node-red.log')
  const program = new Program('Node-RED', process.execPath, [cli, '--userDir', userDir, '--settings', join(userDir, 'settings.js')], log)
  let connections = 0
  return {
    name: 'Node-RED',
    program,
    isUp: async () => {
      // One line each time that it has connected.
      const now = existsSync(log) ? readFileSync(log, 'utf8').split('Connected to broker').length - 1 : 0
      if (now <= connections) return false
      connections = now
      return true
    }
  }
}

/** The path of Node-RED's program; installs it where it is not there yet. */
export function installedNodeRed(): string {
  const folder = join(tmpdir(), `tidemark-node-red-${VERSION}`)
  const cli = join(folder, 'node_modules/node-red/red.js')
  if (existsSync(cli)) return cli
  mkdirSync(folder, { recursive: true })
  process.stderr.write(`installing node-red@${VERSION} into ${folder}\n`)
  const { status, stderr } = spawnSync('npm', ['install', '--prefix', folder, '--no-audit', '--no-fund', `node-red@${VERSION}`], {
    encoding: 'utf8'
  })
  if (status !== 0)
    throw new UsageError(`cannot install node-red@${VERSION}: ${stderr.trim().split('\n').at(-1)}; leave it out with --only`)
  return cli
}

function flow(port: number, file: string): readonly object[] {
  const ranges = ROTATING_MACHINE.metrics.flatMap(({ name, min, max }) =>
    min === undefined || max === undefined ? [] : [[name, min, max]]
  )
  const code = `
    const device = msg.topic.split('/')[2]
    const reading = msg.payload
    for (const [name, min, max] of ${JSON.stringify(ranges)}) {
      const value = reading[name]
      if (value !== undefined && !(value >= min && value <= max)) return null
    }
    const seen = context.get('seen') || new Map()
    const id = device + ' ' + reading.event_id
    if (seen.has(id)) return null
    seen.set(id, true)
    context.set('seen', seen)
    msg.payload = JSON.stringify({ device_id: device, ...reading })
    return msg`
  // A node without a place on the sheet would be taken for one that only configures.
  return [
    { id: 'flow-tab', type: 'tab', label: 'readings' },
    {
      id: 'flow-broker',
      type: 'mqtt-broker',
      broker: '127.0.0.1',
      port: String(port),
      clientid: 'node-red',
      cleansession: false,
      keepalive: '60',
      protocolVersion: '4',
      autoConnect: true
    },
    {
      id: 'flow-in',
      x: 100,
      y: 100,
      z: 'flow-tab',
      type: 'mqtt in',
      topic: 'tm/1/+/json',
      qos: '1',
      datatype: 'json',
      broker: 'flow-broker',
      wires: [['flow-check']]
    },
    { id: 'flow-check', x: 300, y: 100, z: 'flow-tab', type: 'function', func: code, outputs: 1, wires: [['flow-file']] },
    {
      id: 'flow-file',
      x: 500,
      y: 100,
      z: 'flow-tab',
      type: 'file',
      filename: file,
      filenameType: 'str',
      appendNewline: true,
      createDir: false,
      overwriteFile: 'false',
      encoding: 'none',
      wires: [[]]
    }
  ]
}
