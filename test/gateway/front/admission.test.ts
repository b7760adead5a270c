import { PAYLOAD_BYTES_MAX, STATUS_BYTES_MAX } from '@tidemark/protocol'
import { expect, test } from 'vitest'
import { admitPublish, admitSubscription, relayMatcher } from '../../../gateway/src/front/admission.js'

test('a device publishes on its own topics', () => {
  for (const kind of ['batch', 'json', 'status'] as const)
    expect(admitPublish('a.1', `tm/1/a.1/${kind}`, 10)).toEqual({ ok: true, kind, deviceId: 'a.1' })
})

test('what comes down is not published by a device', () => {
  for (const kind of ['config', 'ack']) expect(admitPublish('a', `tm/1/a/${kind}`, 1)).toEqual({ ok: false, refusal: 'wrong-topic' })
})

test("another device's topic is refused, also where one name begins like the other", () => {
  expect(admitPublish('a', 'tm/1/ab/batch', 1)).toEqual({ ok: false, refusal: 'topic-of-another-device' })
  expect(admitPublish('ab', 'tm/1/a/batch', 1)).toEqual({ ok: false, refusal: 'topic-of-another-device' })
})

test('a relay publishes for any device, within the same bounds', () => {
  expect(admitPublish('relay-1', 'tm/1/a/batch', 1, true)).toEqual({ ok: true, kind: 'batch', deviceId: 'a' })
  expect(admitPublish('relay-1', 'tm/1/a/config', 1, true)).toEqual({ ok: false, refusal: 'wrong-topic' })
  expect(admitPublish('relay-1', 'tm/1/a/batch', PAYLOAD_BYTES_MAX + 1, true).ok).toBe(false)
})

test('only those clients are relays that are named, by their ID or its beginning', () => {
  const isRelay = relayMatcher(['site', 'relay-*'])
  for (const id of ['site', 'relay-', 'relay-7']) expect(isRelay(id), id).toBe(true)
  for (const id of ['site-2', 'sit', 'relay', 'my-relay-7', '']) expect(isRelay(id), id).toBe(false)
  expect(relayMatcher([])('site')).toBe(false)
})

test('payloads are bounded by what they are', () => {
  expect(admitPublish('a', 'tm/1/a/batch', PAYLOAD_BYTES_MAX).ok).toBe(true)
  expect(admitPublish('a', 'tm/1/a/batch', PAYLOAD_BYTES_MAX + 1)).toEqual({ ok: false, refusal: 'payload-too-large' })
  expect(admitPublish('a', 'tm/1/a/status', STATUS_BYTES_MAX + 1)).toEqual({ ok: false, refusal: 'payload-too-large' })
})

test.each(['', 'tm/1/a', 'tm/1/a/', 'tm/2/a/batch', 'tm/1/a/batch/x', 'tm/1//batch', 'tm/1/$alerts/hot', 'tm/1/a/constructor'])(
  '%j is no topic to publish on',
  topic => {
    expect(admitPublish('a', topic, 1)).toEqual({ ok: false, refusal: 'wrong-topic' })
  }
)

test('a client listens to its own config and ack, and to status and alerts of all', () => {
  for (const filter of ['tm/1/a/config', 'tm/1/a/ack', 'tm/1/+/status', 'tm/1/b/status', 'tm/1/$alerts/+'])
    expect(admitSubscription('a', filter)).toBe(true)
})

test.each(['#', 'tm/#', 'tm/1/#', 'tm/1/+/batch', 'tm/1/a/batch', 'tm/1/b/config', 'tm/1/+/config', 'tm/1/+/+', '+/+/+/status'])(
  'nobody listens to %s',
  filter => {
    expect(admitSubscription('a', filter)).toBe(false)
  }
)

test('a relay listens to what is meant for any device, others only to what is meant for them', () => {
  for (const filter of ['tm/1/a/config', 'tm/1/+/config', 'tm/1/+/ack']) {
    expect(admitSubscription('relay-1', filter, true), filter).toBe(true)
    expect(admitSubscription('relay-1', filter), filter).toBe(false)
  }
  for (const filter of ['tm/1/a/batch', 'tm/1/+/batch', 'tm/1/#', '#'])
    expect(admitSubscription('relay-1', filter, true), filter).toBe(false)
})
