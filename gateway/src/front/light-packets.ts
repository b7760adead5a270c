/**
 * The MQTT 3.1.1 packets that a device needs, read in place and written: bytes in, decisions out, nothing kept. What is not read here
 * is either malformed, and ends the connection, or more than a device needs, and is for aedes to judge.
 */
import { isDeviceId, parseTopic, topicOf } from '@tidemark/protocol'
import { admitPublish, type UpstreamKind } from './admission.js'
import type { DownstreamKind } from './core.js'

export const CONNACK = Buffer.from([0x20, 2, 0, 0])
export const PINGRESP = Buffer.from([0xd0, 0])

/** MQTT, version 4, with its length before it. */
const PROTOCOL = Buffer.from([0, 4, 0x4d, 0x51, 0x54, 0x54, 4])

const TOPIC_PREFIX = Buffer.from('tm/1/')

const FLAG_WILL = 0x04
const FLAG_WILL_RETAIN = 0x20
const FLAG_PASSWORD = 0x40
const FLAG_USERNAME = 0x80

export interface LightConnect {
  readonly deviceId: string
  readonly keepaliveS: number
  /** null: no will. Its payload lies in the packet at [willStart, willEnd). */
  readonly willKind: UpstreamKind | null
  readonly willStart: number
  readonly willEnd: number
}

/**
 * The bytes of the packet that begins at `start`, its head included; 0 where more bytes must come before that is known, -1 where its
 * length is malformed or its remaining length above `remainingMax`.
 */
export function packetBytes(bytes: Uint8Array, start: number, end: number, remainingMax: number): number {
  let remaining = 0
  let weight = 1
  for (let at = start + 1; at < end; at++) {
    const byte = bytes[at]
    remaining += (byte & 0x7f) * weight
    if (remaining > remainingMax) return -1
    if ((byte & 0x80) === 0) return at + 1 - start + remaining
    if (at - start === 4) return -1
    weight *= 128
  }
  return 0
}

/** Whether a packet that a device may send begins with this byte: its type and flags (MQTT 3.1.1, section 2.2.2). */
export function isHeadOfDevice(first: number): boolean {
  const type = first >> 4
  const flags = first & 0x0f
  if (type === 3) return (flags & 0x06) !== 0x06 // no QoS 3
  if (type === 6 || type === 8 || type === 10) return flags === 2
  return flags === 0 && (type === 1 || type === 4 || type === 5 || type === 7 || type === 12 || type === 14)
}

/** Where the body begins of a packet whose length is known to be well-formed. */
export function bodyStart(bytes: Uint8Array, start: number): number {
  let at = start + 1
  while (bytes[at] & 0x80) at++
  return at + 1
}

/** The end of a field of two bytes of length and so many bytes; -1 where it does not fit. */
function fieldEnd(bytes: Uint8Array, at: number, end: number): number {
  if (at + 2 > end) return -1
  const fieldEnd = at + 2 + bytes[at] * 256 + bytes[at + 1]
  return fieldEnd > end ? -1 : fieldEnd
}

/** Reads a CONNECT that is a device's; null for any other and for a malformed one: aedes judges. */
export function readConnect(bytes: Buffer, start: number, end: number): LightConnect | null {
  const flagsAt = start + PROTOCOL.length
  if (flagsAt + 3 > end || bytes.compare(PROTOCOL, 0, PROTOCOL.length, start, flagsAt) !== 0) return null
  const flags = bytes[flagsAt]
  const hasWill = (flags & FLAG_WILL) !== 0
  const willQos = (flags >> 3) & 3
  if (flags & 1 || willQos === 3 || (!hasWill && (willQos > 0 || flags & FLAG_WILL_RETAIN))) return null
  if (flags & FLAG_PASSWORD && !(flags & FLAG_USERNAME)) return null
  const keepaliveS = bytes.readUInt16BE(flagsAt + 1)
  const idAt = flagsAt + 3
  let at = fieldEnd(bytes, idAt, end)
  if (at < 0) return null
  const deviceId = bytes.toString('latin1', idAt + 2, at)
  if (!isDeviceId(deviceId)) return null
  let willKind: UpstreamKind | null = null
  let willStart = 0
  let willEnd = 0
  if (hasWill) {
    const topicEnd = fieldEnd(bytes, at, end)
    willEnd = topicEnd < 0 ? -1 : fieldEnd(bytes, topicEnd, end)
    if (willEnd < 0) return null
    willStart = topicEnd + 2
    const admission = admitPublish(deviceId, bytes.toString('latin1', at + 2, topicEnd), willEnd - willStart)
    if (!admission.ok) return null
    willKind = admission.kind
    at = willEnd
  }
  for (const flag of [FLAG_USERNAME, FLAG_PASSWORD]) {
    if (flags & flag) at = fieldEnd(bytes, at, end)
    if (at < 0) return null
  }
  return at === end ? { deviceId, keepaliveS, willKind, willStart, willEnd } : null
}

/** The kind of the device's own topic that lies at [start, end); null where it is none that the device may publish on. */
export function ownTopicKind(bytes: Uint8Array, start: number, end: number, deviceId: string): UpstreamKind | null {
  const idStart = start + TOPIC_PREFIX.length
  const slash = idStart + deviceId.length
  if (slash >= end || bytes[slash] !== 0x2f) return null
  for (let i = 0; i < TOPIC_PREFIX.length; i++) if (bytes[start + i] !== TOPIC_PREFIX[i]) return null
  for (let i = 0; i < deviceId.length; i++) if (bytes[idStart + i] !== deviceId.charCodeAt(i)) return null
  for (const kind of UPSTREAM) if (isText(bytes, slash + 1, end, kind)) return kind
  return null
}

const UPSTREAM: readonly UpstreamKind[] = ['batch', 'json', 'status']

/** Where the device ID lies in a topic that begins at `topicStart`. */
export function idStartOf(topicStart: number): number {
  return topicStart + TOPIC_PREFIX.length
}

function isText(bytes: Uint8Array, start: number, end: number, text: string): boolean {
  if (end - start !== text.length) return false
  for (let i = 0; i < text.length; i++) if (bytes[start + i] !== text.charCodeAt(i)) return false
  return true
}

export interface LightSubscribe {
  readonly messageId: number
  /** In the packet's order, no kind twice. */
  readonly wanted: readonly { readonly kind: DownstreamKind; readonly qos: 0 | 1 }[]
}

/** Reads a SUBSCRIBE to the device's own `config` and `ack`; null for any other and for a malformed one: aedes judges. */
export function readSubscribe(bytes: Buffer, start: number, end: number, deviceId: string): LightSubscribe | null {
  if (start + 2 > end) return null
  const wanted: { kind: DownstreamKind; qos: 0 | 1 }[] = []
  let at = start + 2
  while (at < end) {
    const filterEnd = fieldEnd(bytes, at, end)
    if (filterEnd < 0 || filterEnd >= end) return null
    const qos = bytes[filterEnd]
    const kind = downstreamKind(bytes.toString('utf8', at + 2, filterEnd), deviceId)
    if (kind === null || qos > 1 || wanted.some(before => before.kind === kind)) return null
    wanted.push({ kind, qos: qos === 0 ? 0 : 1 })
    at = filterEnd + 1
  }
  return wanted.length === 0 ? null : { messageId: bytes.readUInt16BE(start), wanted }
}

export interface LightUnsubscribe {
  readonly messageId: number
  readonly kinds: readonly DownstreamKind[]
}

/** The same of an UNSUBSCRIBE. */
export function readUnsubscribe(bytes: Buffer, start: number, end: number, deviceId: string): LightUnsubscribe | null {
  if (start + 2 > end) return null
  const kinds: DownstreamKind[] = []
  let at = start + 2
  while (at < end) {
    const filterEnd = fieldEnd(bytes, at, end)
    const kind = filterEnd < 0 ? null : downstreamKind(bytes.toString('utf8', at + 2, filterEnd), deviceId)
    if (kind === null) return null
    kinds.push(kind)
    at = filterEnd
  }
  return kinds.length === 0 ? null : { messageId: bytes.readUInt16BE(start), kinds }
}

function downstreamKind(filter: string, deviceId: string): DownstreamKind | null {
  const parsed = parseTopic(filter)
  return parsed?.deviceId === deviceId && (parsed.kind === 'config' || parsed.kind === 'ack') ? parsed.kind : null
}

export function subackBytes({ messageId, wanted }: LightSubscribe): Buffer {
  return Buffer.from([0x90, 2 + wanted.length, messageId >> 8, messageId & 0xff, ...wanted.map(({ qos }) => qos)])
}

export function unsubackBytes(messageId: number): Buffer {
  return Buffer.from([0xb0, 2, messageId >> 8, messageId & 0xff])
}

/** Writes a PUBACK at `at`; it takes four bytes. */
export function writePuback(into: Buffer, at: number, messageId: number): void {
  into[at] = 0x40
  into[at + 1] = 2
  into[at + 2] = messageId >> 8
  into[at + 3] = messageId & 0xff
}

/** A PUBLISH to a device. `messageId` counts for QoS 1. */
export function publishBytes(
  deviceId: string,
  kind: DownstreamKind,
  payload: Uint8Array,
  { qos, isRetained, messageId }: { readonly qos: 0 | 1; readonly isRetained: boolean; readonly messageId: number }
): Buffer {
  const topic = Buffer.from(topicOf(deviceId, kind))
  const parts = [Buffer.from([topic.length >> 8, topic.length & 0xff]), topic]
  if (qos > 0) parts.push(Buffer.from([messageId >> 8, messageId & 0xff]))
  let remaining = 2 + topic.length + (qos > 0 ? 2 : 0) + payload.length
  const head = [0x30 | (qos << 1) | (isRetained ? 1 : 0)]
  do {
    const more = remaining > 127 ? 0x80 : 0
    head.push((remaining & 0x7f) | more)
    remaining = Math.floor(remaining / 128)
  } while (remaining > 0)
  return Buffer.concat([Buffer.from(head), ...parts, payload])
}
