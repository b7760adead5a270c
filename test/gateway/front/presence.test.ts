import { expect, test } from 'vitest'
import type { FrontEnd, Will } from '../../../gateway/src/front/core.js'
import { Presence } from '../../../gateway/src/front/presence.js'

/** A front that writes down what it is told. */
class Told implements FrontEnd {
  readonly told: string[] = []
  takeOver(deviceId: string, number: number): void {
    this.told.push(`take over ${deviceId} ${number}`)
  }
  deliver(deviceId: string, kind: string, payload: Uint8Array, isRetained: boolean): void {
    this.told.push(`deliver ${deviceId} ${kind} ${Buffer.from(payload)}${isRetained ? ' *' : ''}`)
  }
  relay(deviceId: string, kind: string, payload: Uint8Array): void {
    this.told.push(`relay ${deviceId} ${kind} ${Buffer.from(payload)}`)
  }
  showStatus({ deviceId, payload }: { deviceId: string; payload: Uint8Array }): void {
    this.told.push(`status ${deviceId} ${Buffer.from(payload)}`)
  }
}

const at = (deviceId: string, number: number, acceptedMs: number, will: Will | null = null) => ({ deviceId, number, acceptedMs, will })
const willOf = (text: string): Will => ({ kind: 'status', payload: Buffer.from(text) })
const birth = (session: string) => Buffer.from(JSON.stringify({ state: 'online', session, epoch: 1, agent: '', profiles: [] }))
const death = (session: string) => Buffer.from(JSON.stringify({ state: 'offline', session }))

test('of two connections of a device on two fronts the later holds, in whatever order they are reported', () => {
  for (const order of ['early first', 'late first']) {
    const [early, late, presence] = [new Told(), new Told(), new Presence()]
    const report = [() => presence.connected(early, at('a', 1, 100)), () => presence.connected(late, at('a', 5, 200))]
    for (const each of order === 'early first' ? report : report.toReversed()) each()
    expect(early.told).toEqual(['take over a 1'])
    expect(late.told).toEqual([])
    presence.disconnected(early, 'a', 1)
    presence.tell('a', { epoch_spent: 1 })
    expect(late.told).toEqual(['deliver a ack {"epoch_spent":1}'])
  }
})

test('the end of an earlier connection on the same front is not the end of the later', () => {
  const [front, presence] = [new Told(), new Presence()]
  presence.connected(front, at('a', 1, 100))
  presence.connected(front, at('a', 2, 200))
  presence.disconnected(front, 'a', 1)
  presence.setConfig('a', Buffer.from('x'))
  expect(front.told).toEqual(['deliver a config x'])
  presence.disconnected(front, 'a', 2)
  presence.setConfig('a', Buffer.from('y'))
  expect(front.told).toEqual(['deliver a config x'])
})

test('a front that has died leaves the wills of the connections that it had not reported as ended', () => {
  const [dead, other, presence] = [new Told(), new Told(), new Presence()]
  presence.connected(dead, at('gone', 1, 1, willOf('gone')))
  presence.connected(dead, at('ended', 2, 2, willOf('ended')))
  presence.connected(dead, at('silent', 3, 3))
  presence.connected(dead, at('moved', 4, 4, willOf('moved')))
  presence.connected(other, at('moved', 1, 5, willOf('later')))
  presence.disconnected(dead, 'ended', 2)
  const left = presence.frontDied(dead).map(({ deviceId, will }) => `${deviceId} ${Buffer.from(will.payload)}`)
  expect(left).toEqual(['gone gone', 'moved moved'])
  presence.tell('moved', { epoch_spent: 1 })
  expect(other.told).toEqual(['deliver moved ack {"epoch_spent":1}'])
  expect(presence.frontDied(dead)).toEqual([])
})

test('the death of a session that is not the last one is not taken', () => {
  const presence = new Presence()
  expect(presence.admitStatus('a', death('never born'))).toBe(true)
  expect(presence.admitStatus('a', birth('old'))).toBe(true)
  expect(presence.admitStatus('a', birth('new'))).toBe(true)
  expect(presence.admitStatus('a', death('old'))).toBe(false)
  expect(presence.admitStatus('a', Buffer.from('what is no status is logged as it is'))).toBe(true)
  expect(presence.admitStatus('a', death('new'))).toBe(true)
})

test('an empty status takes the one that is kept back', () => {
  const presence = new Presence()
  presence.noteStatus('a', birth('a'))
  presence.noteStatus('b', birth('b'))
  presence.noteStatus('a', new Uint8Array(0))
  expect([...presence.kept('tm/1/+/status')].map(({ deviceId }) => deviceId)).toEqual(['b'])
  expect([...presence.kept('tm/1/a/status')]).toEqual([])
})

test('what is meant for a device goes to relays only while it has no connection of its own', () => {
  const [relaying, other, presence] = [new Told(), new Told(), new Presence()]
  presence.watchDevices(relaying)
  presence.setConfig('a', Buffer.from('x'))
  presence.connected(other, at('a', 1, 1))
  presence.setConfig('a', Buffer.from('y'))
  expect(relaying.told).toEqual(['relay a config x'])
  expect(other.told).toEqual(['deliver a config y'])
  presence.frontDied(relaying)
  presence.setConfig('b', Buffer.from('z'))
  expect(relaying.told).toHaveLength(1)
})

test('a configuration that is taken back is told once', () => {
  const [front, presence] = [new Told(), new Presence()]
  presence.connected(front, at('a', 1, 1))
  presence.setConfig('a', null)
  presence.setConfig('a', Buffer.from('x'))
  presence.setConfig('a', null)
  presence.setConfig('a', null)
  expect(front.told).toEqual(['deliver a config x', 'deliver a config '])
  expect([...presence.kept('tm/1/+/config')]).toEqual([])
})

test('what a device is granted goes where the device is, and with the answer to each birth until it is lifted', () => {
  const [front, relaying, presence] = [new Told(), new Told(), new Presence()]
  presence.watchDevices(relaying)
  presence.connected(front, at('a', 1, 100))
  presence.grant('a', 500)
  presence.grant('behind-a-relay', 20)
  presence.admitStatus('a', birth('first'))
  presence.grant('a', null)
  presence.admitStatus('a', birth('second'))
  const [granted, answer, lifted, later] = front.told
  expect([granted, lifted]).toEqual(['deliver a ack {"max_rate":"500/s"}', 'deliver a ack {"max_rate":null}'])
  expect(answer).toMatch(/^deliver a ack {"time_ms":\d+,"max_rate":"500\/s"}$/)
  expect(later).toMatch(/^deliver a ack {"time_ms":\d+}$/)
  expect(relaying.told).toEqual(['relay behind-a-relay ack {"max_rate":"20/s"}'])
})
