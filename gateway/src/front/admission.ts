/** Which publishes and subscriptions of a client the front takes. Decides; does nothing. */
import { PAYLOAD_BYTES_MAX, parseTopic, STATUS_BYTES_MAX, type TopicKind } from '@tidemark/protocol'
import type { DownstreamKind } from './core.js'

/** What the front takes from a device. */
export type UpstreamKind = Extract<TopicKind, 'batch' | 'json' | 'status'>

export type Refusal = 'wrong-topic' | 'topic-of-another-device' | 'payload-too-large'

export interface Admitted {
  readonly ok: true
  readonly kind: UpstreamKind
  readonly deviceId: string
}

export type Admission = Admitted | { readonly ok: false; readonly refusal: Refusal }

export function payloadBytesMax(kind: UpstreamKind): number {
  return kind === 'status' ? STATUS_BYTES_MAX : PAYLOAD_BYTES_MAX
}

/** `isRelay`: the client may publish for any device. */
export function admitPublish(clientId: string, topic: string, payloadBytes: number, isRelay = false): Admission {
  const parsed = parseTopic(topic)
  if (parsed === null || parsed.kind === 'config' || parsed.kind === 'ack') return { ok: false, refusal: 'wrong-topic' }
  if (parsed.deviceId !== clientId && !isRelay) return { ok: false, refusal: 'topic-of-another-device' }
  if (payloadBytes > payloadBytesMax(parsed.kind)) return { ok: false, refusal: 'payload-too-large' }
  return { ok: true, kind: parsed.kind, deviceId: parsed.deviceId }
}

/** Whether the filter is that of status topics: of one device, or of all. */
export function isStatusFilter(filter: string): boolean {
  return /^tm\/1\/(\+|[A-Za-z0-9._-]+)\/status$/.test(filter)
}

/** What comes down that the filter names, of one device or of all; null: it is no filter of that. */
export function downstreamOf(filter: string): DownstreamKind | null {
  const match = /^tm\/1\/(?:\+|[A-Za-z0-9._-]+)\/(config|ack)$/.exec(filter)
  return match === null ? null : (match[1] as DownstreamKind)
}

/** A client may listen to what is meant for it, a relay to what is meant for any, and all to status and alerts: never to readings. */
export function admitSubscription(clientId: string, filter: string, isRelay = false): boolean {
  if (filter.startsWith('tm/1/$alerts/')) return true
  if (isStatusFilter(filter)) return true
  if (isRelay && downstreamOf(filter) !== null) return true
  const parsed = parseTopic(filter)
  return parsed !== null && parsed.deviceId === clientId && (parsed.kind === 'config' || parsed.kind === 'ack')
}

/** Tells relays by their client ID, as the configuration names them: an ID, or the beginning of some with a star behind it. */
export function relayMatcher(names: readonly string[]): (clientId: string) => boolean {
  const ids = new Set(names.filter(name => !name.endsWith('*')))
  const prefixes = names.filter(name => name.endsWith('*')).map(name => name.slice(0, -1))
  return clientId => ids.has(clientId) || prefixes.some(prefix => clientId.startsWith(prefix))
}
