import { DEVICE_ID_LENGTH_MAX } from './limits.js'

/** What a topic of a device carries. `batch`, `json` and `status` go up; `config` and `ack` come down. */
export type TopicKind = 'batch' | 'json' | 'status' | 'config' | 'ack'

const KINDS: ReadonlySet<string> = new Set<TopicKind>(['batch', 'json', 'status', 'config', 'ack'])
const DEVICE_ID = new RegExp(`^[A-Za-z0-9._-]{1,${DEVICE_ID_LENGTH_MAX}}$`)
const PREFIX = 'tm/1/'

/** Whether `text` may name a device: 1 to 64 of `[A-Za-z0-9._-]`. It is the MQTT client ID too. */
export function isDeviceId(text: string): boolean {
  return DEVICE_ID.test(text)
}

export function topicOf(deviceId: string, kind: TopicKind): string {
  return `${PREFIX}${deviceId}/${kind}`
}

/** The device and kind that a topic names, or null where it is no topic of a device. */
export function parseTopic(topic: string): { deviceId: string; kind: TopicKind } | null {
  if (!topic.startsWith(PREFIX)) return null
  const slash = topic.indexOf('/', PREFIX.length)
  const deviceId = topic.slice(PREFIX.length, slash)
  const kind = topic.slice(slash + 1)
  if (slash < 0 || !isDeviceId(deviceId) || !KINDS.has(kind)) return null
  return { deviceId, kind: kind as TopicKind }
}
