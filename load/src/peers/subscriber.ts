/**
 * A program as somebody would write it behind a broker: subscribes to all readings with QoS 1 in a session that outlives it, checks
 * ranges, drops duplicates by a Map, and appends JSON lines. Arguments: port, file, and a file that says that it has subscribed.
 */
import { createWriteStream, writeFileSync } from 'node:fs'
import { ROTATING_MACHINE } from '@tidemark/protocol'
import mqtt from 'mqtt'

const [port, file, ready] = process.argv.slice(2)
const seen = new Map<string, true>()
const out = createWriteStream(file, { flags: 'a' })
const ranges = ROTATING_MACHINE.metrics.flatMap(({ name, min, max }) =>
  min === undefined || max === undefined ? [] : [{ name, min, max }]
)

const client = mqtt.connect(`mqtt://127.0.0.1:${port}`, { clientId: 'subscriber', clean: false })
client.on('connect', () => {
  client.subscribe('tm/1/+/json', { qos: 1 }, error => {
    if (!error) writeFileSync(ready, String(process.pid))
  })
})
client.on('message', (topic, payload) => {
  let reading: Record<string, unknown>
  try {
    reading = JSON.parse(payload.toString())
  } catch {
    return
  }
  for (const { name, min, max } of ranges) {
    const value = reading[name]
    if (value !== undefined && !(typeof value === 'number' && value >= min && value <= max)) return
  }
  const deviceId = topic.split('/')[2]
  const id = `${deviceId} ${reading.event_id}`
  if (seen.has(id)) return
  seen.set(id, true)
  out.write(`${JSON.stringify({ device_id: deviceId, ...reading })}\n`)
})
process.on('SIGTERM', () => client.end(false, () => out.end(() => process.exit(0))))
