/** Others at the same job: ten values a second over MQTT, QoS 1. collectd with its mqtt plugin, and Node-RED. */
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

const COLLECTD = ['/usr/sbin/collectd', '/usr/local/sbin/collectd'].find(path => existsSync(path))

/** null where it is not installed. */
export function collectdCommand(folder: string, mqttPort: number): string[] | null {
  if (COLLECTD === undefined) return null
  const path = join(folder, 'collectd.conf')
  writeFileSync(
    path,
    `Interval 1
BaseDir "${folder}"
PIDFile "${folder}/collectd.pid"
LoadPlugin load
LoadPlugin memory
LoadPlugin swap
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
  return [COLLECTD, '-f', '-C', path]
}

/** @param installed the folder whose node_modules has it; null where it is not there */
export function nodeRedCommand(folder: string, installed: string, mqttPort: number): string[] | null {
  const entry = join(installed, 'node_modules', 'node-red', 'red.js')
  if (!existsSync(entry)) return null
  const home = join(folder, 'node-red')
  mkdirSync(home)
  const values =
    'const w = Math.sin(Date.now() / 40000)\nmsg.payload = JSON.stringify({ t: Date.now(), v: Array.from({ length: 10 }, (_, i) => i + w) })\nreturn msg'
  const flow = [
    { id: 'tab', type: 'tab', label: 'bench' },
    {
      id: 'broker',
      type: 'mqtt-broker',
      broker: '127.0.0.1',
      port: String(mqttPort),
      clientid: 'node-red',
      keepalive: '60',
      cleansession: true
    },
    {
      id: 'inject',
      type: 'inject',
      z: 'tab',
      props: [{ p: 'payload' }],
      repeat: '1',
      once: true,
      payloadType: 'date',
      wires: [['values']]
    },
    { id: 'values', type: 'function', z: 'tab', func: values, outputs: 1, wires: [['out']] },
    { id: 'out', type: 'mqtt out', z: 'tab', topic: 'bench', qos: '1', broker: 'broker', wires: [] }
  ]
  writeFileSync(join(home, 'flows.json'), JSON.stringify(flow))
  writeFileSync(
    join(home, 'settings.js'),
    "module.exports = { flowFile: 'flows.json', httpAdminRoot: false, logging: { console: { level: 'off' } } }\n"
  )
  return [process.execPath, entry, '--userDir', home, '--settings', join(home, 'settings.js'), '--port', '0']
}
