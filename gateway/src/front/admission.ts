/** Which publishes and subscriptions of a client the front takes. Decides; does nothing. */
import { PAYLOAD_BYTES_MAX, parseTopic, STATUS_BYTES_MAX, type TopicKind } from '@tidemark/protocol'

/** What the front takes from a device. */
export type UpstreamKind = Extract<TopicKind, 'batch' | 'json' | 'status'>

export type Refusal = 'wrong-topic' | 'topic-of-another-device' | 'payload-too-large'

export type Admission = { readonly ok: true; readonly kind: UpstreamKind } | { readonly ok: false; readonly refusal: Refusal }

export function admitPublish(clientId: string, topic: string, payloadBytes: number): Admission {
  const parsed = parseTopic(topic)
  if (parsed === null || parsed.kind === 'config' || parsed.kind === 'ack') return { ok: false, refusal: 'wrong-topic' }
  if (parsed.deviceId !== clientId) return { ok: false, refusal: 'topic-of-another-device' }
  if (payloadBytes > (parsed.kind === 'status' ? STATUS_BYTES_MAX : PAYLOAD_BYTES_MAX)) return { ok: false, refusal: 'payload-too-large' }
  return { ok: true, kind: parsed.kind }
}

/** Whether the filter is that of status topics: of one device, or of all. */
export function isStatusFilter(filter: string): boolean {
  return /^tm\/1\/(\+|[A-Za-z0-9._-]+)\/status$/.test(filter)
}

/** A client may listen to what is meant for it, and to status and alerts of all: never to readings. */
export function admitSubscription(clientId: string, filter: string): boolean {
  if (filter.startsWith('tm/1/$alerts/')) return true
  if (isStatusFilter(filter)) return true
  const parsed = parseTopic(filter)
  return parsed !== null && parsed.deviceId === clientId && (parsed.kind === 'config' || parsed.kind === 'ack')
}
