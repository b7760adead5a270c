/** The device registry is a part of the processor's state: what is set of a device, what it says of itself, what follows from it. */
import type { Status } from '@tidemark/protocol'
import { describe, expect, test } from 'vitest'
import { configMessage, configStateOf } from '../../../gateway/src/processor/config-wanted.js'
import { Processor } from '../../../gateway/src/processor/processor.js'
import { newRegistration, type Registration, restoredRegistration } from '../../../gateway/src/processor/registry.js'
import { EventIdsInMemory } from '../../kit/event-ids-in-memory.js'
import { at, type Timeline, timeline } from '../../kit/timeline.js'

const birth: Status = { state: 'online', session: 's-1', epoch: 9, agent: '0.1.0', profiles: [] }

function send(t: Timeline, device: string, time: string): void {
  t.reading({ device, seq: Number(time.replaceAll(':', '')), eventTimeMs: at(time), oldestHeldSeq: Number(time.replaceAll(':', '')) })
}

describe('a device is known', () => {
  test('once it was set, though it never sent anything', () => {
    const t = timeline()
    t.set('pump-9', { site: 'hall 2' })
    expect(t.device('pump-9')).toEqual({
      deviceId: 'pump-9',
      registeredMs: at('14:00'),
      profile: null,
      site: 'hall 2',
      retired: false,
      config: null,
      status: null,
      seenMs: null,
      watermarkMs: null,
      idle: false,
      ended: false
    })
  })

  test('once it has sent a reading, with its watermark and when it was seen', () => {
    const t = timeline()
    send(t, 'pump-7', '13:59')
    expect(t.device()).toMatchObject({ registeredMs: at('14:00'), seenMs: at('14:00'), watermarkMs: at('13:59'), profile: null })
  })

  test('beyond the limit of devices when a person sets it, but not when it sends', () => {
    const t = timeline({ devicesMax: 1 })
    send(t, 'pump-1', '13:00')
    t.status(birth, 'pump-2')
    expect(t.device('pump-2')).toBeNull()
    t.set('pump-3', {})
    expect(t.device('pump-3')).not.toBeNull()
  })
})

test('what is set stays until it is set again or cleared', () => {
  const t = timeline()
  t.set('pump-7', { profile: 'pump', site: 'hall 2', retired: true })
  t.set('pump-7', { site: 'hall 3' })
  expect(t.device()).toMatchObject({ profile: 'pump', site: 'hall 3', retired: true })
  t.set('pump-7', { profile: null, site: null, retired: false })
  expect(t.device()).toMatchObject({ profile: null, site: null, retired: false })
})

describe('a status', () => {
  test('is kept; a death keeps what its birth said', () => {
    const t = timeline()
    t.status(birth)
    expect(t.device()?.status).toEqual({ state: 'online', session: 's-1', epoch: 9, agent: '0.1.0', config: null, sinceMs: at('14:00') })
    t.leap(1000)
    t.status({ state: 'offline', session: 's-1' })
    expect(t.device()).toMatchObject({
      status: { state: 'offline', epoch: 9, agent: '0.1.0', config: null, sinceMs: at('14:00:01') },
      seenMs: at('14:00:01')
    })
  })

  test('of a session whose birth was not seen has neither agent nor epoch', () => {
    const t = timeline()
    t.status(birth)
    t.status({ state: 'offline', session: 's-2' })
    expect(t.device()?.status).toMatchObject({ session: 's-2', agent: null, epoch: null })
  })

  test('that cannot be decoded changes nothing', () => {
    const t = timeline()
    t.append({ kind: 'status', device: 'pump-7', payload: new Uint8Array([7]) })
    expect(t.device()).toBeNull()
  })

  test('ends no idleness, which is about readings', () => {
    const t = timeline()
    send(t, 'pump-7', '13:59')
    t.tick(700_000)
    expect(t.device()?.idle).toBe(true)
    t.status(birth)
    expect(t.device()?.idle).toBe(true)
  })
})

describe('the default profile', () => {
  const reading = { event_id: 'a', event_time: at('13:00'), temperature: 21 }

  test('is that of JSON readings which name none', () => {
    const t = timeline()
    t.set('meter-1', { profile: 'pump' })
    t.json(reading)
    t.drain()
    expect(t.readings()).toMatchObject([{ device_id: 'meter-1', event_id: 'a', temperature: 21 }])
    expect(t.quarantine()).toEqual([])
  })

  test('gives way to the one that a reading names', () => {
    const t = timeline()
    t.set('meter-1', { profile: 'pump' })
    t.json({ ...reading, profile: 'fan' })
    t.drain()
    expect(t.quarantine()).toMatchObject([{ reason: 'unknown-profile', profile: 'fan' }])
  })

  test('is missed where there is none, and the quarantine says so', () => {
    const t = timeline()
    t.json(reading)
    t.drain()
    expect(t.quarantine()).toMatchObject([{ reason: 'unknown-profile', detail: expect.stringContaining('no default') }])
  })
})

describe('a retired device', () => {
  test('leaves the fleet watermark, and comes back when it is retired no longer', () => {
    const t = timeline()
    send(t, 'pump-1', '12:00')
    send(t, 'pump-2', '13:00')
    expect(t.stats().fleetWatermarkMs).toBe(at('12:00'))
    t.set('pump-1', { retired: true })
    expect(t.stats().fleetWatermarkMs).toBe(at('13:00'))
    t.set('pump-1', { retired: false })
    expect(t.stats().fleetWatermarkMs).toBe(at('12:00'))
  })

  test('that sends again is taken in as ever, and stays retired', () => {
    const t = timeline()
    t.set('pump-7', { retired: true })
    send(t, 'pump-7', '13:00')
    t.drain()
    expect(t.readings()).toHaveLength(1)
    expect(t.device()).toMatchObject({ retired: true, watermarkMs: at('13:00') })
    expect(t.stats().fleetWatermarkMs).toBeNull()
  })
})

describe('the configuration of a device', () => {
  test('changes key by key; each change is a revision, and taking all back is one too', () => {
    const t = timeline()
    t.set('pump-7', { config: { interval: '5s', max_rate: '500/s' } })
    t.set('pump-7', { config: { interval: '10s' } })
    expect(t.device()?.config).toEqual({ revision: 2, settings: { interval: '10s', max_rate: '500/s' } })
    t.set('pump-7', { config: { interval: '10s', max_rate: null } })
    expect(t.device()?.config).toEqual({ revision: 3, settings: { interval: '10s' } })
    t.set('pump-7', { site: 'hall 2' })
    expect(t.device()?.config?.revision).toBe(3)
    t.set('pump-7', { config: null })
    expect(t.device()?.config).toEqual({ revision: 4, settings: {} })
  })

  test('is pending until the device answers its revision, and again when another session has not', () => {
    const t = timeline()
    const state = () => configStateOf(t.device()!)
    t.status({ ...birth, config: { revision: 1 } })
    expect(state()).toBeNull()
    t.set('pump-7', { config: { interval: '5s' } })
    expect(state()).toBe('applied')
    t.set('pump-7', { config: { interval: '6s' } })
    expect(state()).toBe('pending')
    t.status({ ...birth, config: { revision: 2, refused: 'interval: a recording has its own times' } })
    t.status({ state: 'offline', session: 's-1' })
    expect(state()).toBe('refused')
    expect(t.device()?.status?.config?.refused).toContain('recording')
    t.status({ ...birth, session: 's-2' })
    expect(state()).toBe('pending')
    t.set('pump-7', { retired: true })
    expect([state(), configMessage(t.device()!)]).toEqual(['withheld', null])
  })

  test('of an earlier version that did not know it is none', () => {
    const { config: _config, ...before } = newRegistration(5)
    const { config: _answer, ...status } = { state: 'online', session: 's', agent: null, epoch: null, config: null, sinceMs: 7 } as const
    const restored = restoredRegistration({ ...before, status } as Registration)
    expect(restored).toEqual({ ...newRegistration(5), status: { ...status, config: null } })
  })
})

test('a snapshot holds the registry', () => {
  const t = timeline({ snapshotEvery: 1 })
  t.set('pump-9', { site: 'hall 2', retired: true, config: { log_level: 'debug' } })
  t.status({ ...birth, config: { revision: 1 } })
  send(t, 'pump-7', '13:00')
  t.drain()
  t.finishSnapshot()
  const restored = new Processor(new EventIdsInMemory(), t.snapshots.get(t.flushes.length))
  expect(restored.devices()).toEqual([t.device('pump-7'), t.device('pump-9')])
})

test('a device that falls silent makes a boundary, though nothing but ticks comes', () => {
  const t = timeline()
  t.reading({ seq: 1, eventTimeMs: at('13:59'), endOfStreamSeq: 1 })
  t.tick(590_000)
  const before = t.flushes.length
  t.tick(120_000)
  expect(t.flushes.slice(before).flatMap(({ fleet }) => [...fleet.progress.idle])).toEqual([1])
})

test('a flush carries the devices that changed, and no others', () => {
  const t = timeline()
  send(t, 'pump-1', '12:00')
  send(t, 'pump-2', '12:00')
  expect(t.drain().fleet.devices.map(row => row.deviceId)).toEqual(['pump-1', 'pump-2'])
  send(t, 'pump-2', '13:00')
  const { fleet, deviceIds } = t.drain()
  const { devices, progress } = fleet
  expect(devices).toEqual([])
  expect(Array.from(progress.device, place => deviceIds[place])).toEqual(['pump-2'])
  expect([...progress.watermarksMs]).toEqual([at('13:00')])
  t.set('pump-1', { retired: true })
  expect(t.drain().fleet.devices).toMatchObject([{ deviceId: 'pump-1', retired: true, watermarkMs: at('12:00') }])
})
