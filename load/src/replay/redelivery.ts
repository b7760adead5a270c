/** Delivers batches once more, as a device does whose PUBACK was lost: a real MQTT client with the device's client ID. */
import { topicOf } from '@tidemark/protocol'
import mqtt, { type MqttClient } from 'mqtt'
import type { LoggedBatch } from './gateway-disk.js'

/** The batches that were acked; fewer than all where the gateway is killed meanwhile, or is down. */
export async function redeliver(port: number, deviceId: string, batches: readonly LoggedBatch[]): Promise<LoggedBatch[]> {
  const client = mqtt.connect({
    host: '127.0.0.1',
    port,
    clientId: deviceId,
    protocolVersion: 4,
    clean: true,
    reconnectPeriod: 0,
    connectTimeout: 10_000
  })
  const isClosed = new Promise<false>(resolve => {
    client.once('close', () => resolve(false))
    client.on('error', () => resolve(false))
  })
  const acked: LoggedBatch[] = []
  try {
    const isConnected = new Promise<true>(resolve => client.once('connect', () => resolve(true)))
    if (!(await Promise.race([isConnected, isClosed]))) return acked
    for (const batch of batches) {
      if (!(await Promise.race([isAcked(client, topicOf(deviceId, 'batch'), batch.payload), isClosed]))) break
      acked.push(batch)
    }
    return acked
  } finally {
    client.end(true)
  }
}

function isAcked(client: MqttClient, topic: string, payload: Buffer): Promise<boolean> {
  return new Promise(resolve => client.publish(topic, payload, { qos: 1 }, error => resolve(!error)))
}
