/** mqtt.js, without the 65,536 buffers (7 MB) in which mqtt-packet keeps every two-byte number ready. */
import mqtt from 'mqtt'
import { writeToStream } from 'mqtt-packet'

Reflect.set(writeToStream, 'cacheNumbers', false)

export default mqtt
export type { MqttClient } from 'mqtt'
