/**
 * Listens to a local MQTT broker (zigbee2mqtt, Tasmota, ESPHome, …) and gives the last value that each topic said, for as long as
 * it is fresh. A message that the broker kept (retained) is of unknown age and does not count unless it is told to.
 */
import type { Profile } from '@tidemark/protocol'
import { withoutSecrets } from '../config.js'
import { ANSWER_BYTES_MAX } from '../limits.js'
import { monotonicMs } from '../monotonic.js'
import mqtt, { type MqttClient } from '../mqtt-client.js'
import { type JsonMapping, putValues } from './json-values.js'
import { Measurement, mappedMetrics } from './mapping.js'
import type { LiveSource } from './source.js'

export interface MqttSourceConfig {
  /** May hold a user and a password. */
  readonly url: string
  /** How long a value counts, in ms. */
  readonly max_age: number
  /** Whether a retained message counts, as of when it is received. */
  readonly retained: boolean
  readonly metrics: Readonly<Record<string, JsonMapping & { readonly topic: string }>>
}

interface Message {
  readonly text: string
  /** Monotonic ms. */
  readonly receivedMs: number
}

const RECONNECT_MS = 5000

export function openMqtt(config: MqttSourceConfig, profile: Profile): LiveSource {
  const metrics = mappedMetrics('mqtt', profile, Object.keys(config.metrics))
  const listener = new Listener(config)
  const byTopic = groupByTopic(config)
  return {
    key: `mqtt:${new URL(config.url).host}`,
    metrics: [...metrics.keys()],
    async measure(signal) {
      await listener.ready(signal)
      const measurement = new Measurement(metrics)
      for (const [topic, mappings] of byTopic) {
        const text = listener.freshText(topic)
        if (text !== null) putValues(measurement, text, mappings)
        else for (const name of Object.keys(mappings)) measurement.fail(name, `nothing new on ${topic}`)
      }
      return measurement.done()
    },
    close: () => listener.close()
  }
}

/** One connection to the broker, from the first measurement on; mqtt.js keeps it up. */
class Listener {
  private client: MqttClient | null = null
  private error: string | null = null
  private readonly messages = new Map<string, Message>()
  private readonly topics: readonly string[]

  constructor(private readonly config: MqttSourceConfig) {
    this.topics = [...new Set(Object.values(config.metrics).map(mapping => mapping.topic))]
  }

  /** Resolves once all is subscribed. Rejects where the broker cannot be reached, or not in time. */
  async ready(signal: AbortSignal): Promise<void> {
    this.client ??= this.connect()
    const { client } = this
    if (client.connected) return
    await new Promise<void>((resolve, reject) => {
      const finish = (error: Error | null) => {
        client.off('connect', onConnect)
        client.off('close', onClose)
        signal.removeEventListener('abort', onAbort)
        if (error === null) resolve()
        else reject(error)
      }
      const where = withoutSecrets(this.config.url)
      const onConnect = () => finish(null)
      const onClose = () => finish(new Error(`${where}: ${this.error ?? 'the broker closed the connection'}`))
      const onAbort = () => finish(new Error(`${where}: ${this.error ?? 'the broker does not answer'}`))
      client.on('connect', onConnect)
      client.on('close', onClose)
      signal.addEventListener('abort', onAbort, { once: true })
    })
  }

  /** The last text of a topic; null where there is none that is fresh. */
  freshText(topic: string): string | null {
    const message = this.messages.get(topic)
    return message !== undefined && monotonicMs() - message.receivedMs <= this.config.max_age ? message.text : null
  }

  async close(): Promise<void> {
    this.client?.end(true)
    this.client = null
  }

  private connect(): MqttClient {
    const client = mqtt.connect(this.config.url, { protocolVersion: 4, clean: true, reconnectPeriod: RECONNECT_MS, resubscribe: false })
    client.on('connect', () => {
      this.error = null
      client.subscribe([...this.topics], { qos: 0 }, error => {
        if (error) this.error = error.message
      })
    })
    client.on('error', error => {
      const code = 'code' in error ? String(error.code) : ''
      this.error = code === 'ECONNREFUSED' ? 'nothing listens there' : error.message || code
    })
    client.on('message', (topic, payload, packet) => {
      if ((packet.retain && !this.config.retained) || payload.length > ANSWER_BYTES_MAX || !this.topics.includes(topic)) return
      this.messages.set(topic, { text: payload.toString('utf8'), receivedMs: monotonicMs() })
    })
    return client
  }
}

function groupByTopic({ metrics }: MqttSourceConfig): Map<string, Record<string, JsonMapping>> {
  const groups = new Map<string, Record<string, JsonMapping>>()
  for (const [name, mapping] of Object.entries(metrics)) groups.set(mapping.topic, { ...groups.get(mapping.topic), [name]: mapping })
  return groups
}
