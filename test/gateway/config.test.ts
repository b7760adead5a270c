import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { isLoopback, loadConfig, parseAddress } from '../../gateway/src/config.js'
import { tempDir } from '../kit/temp-dir.js'

test('without a file everything has a default', () => {
  const config = loadConfig(undefined, { dataDir: '/data' })
  expect(config).toMatchObject({ dataDir: '/data', mqtt: { host: '127.0.0.1', port: 1883 }, http: { host: '127.0.0.1', port: 8080 } })
  expect(config.settings).toMatchObject({
    flushIntervalMs: 60_000,
    flushRows: 2_000_000,
    smallHourWaitMs: 600_000,
    idleTimeoutMs: 600_000,
    gapTimeoutMs: 60_000
  })
  expect(config.profiles.map(profile => profile.name)).toEqual(['rotating-machine', 'water-loop', 'host'])
})

test('a gateway has one front, in its own process, unless it is told otherwise', () => {
  const file = join(tempDir(), 'gateway.yaml')
  writeFileSync(file, 'front: { processes: auto, connections_expected: 100000, light_sessions: false }\n')
  const { front } = loadConfig(undefined, {})
  expect(front).toEqual({ processes: 1, connectionsExpected: 10_000, connectionsMax: 18_000, lightSessions: true, relays: [] })
  expect(loadConfig(file, {}).front).toEqual({ ...front, processes: 'auto', connectionsExpected: 100_000, lightSessions: false })
})

test('paths are relative to the file, and the command line has the last word', () => {
  const dir = tempDir()
  const file = join(dir, 'gateway.yaml')
  writeFileSync(file, 'data_dir: store\nmqtt: { listen: "127.0.0.1:1" }\nflush: { interval: 500ms }\n')
  expect(loadConfig(file, {})).toMatchObject({
    dataDir: join(dir, 'store'),
    mqtt: { port: 1 },
    settings: { flushIntervalMs: 500, flushRows: 2_000_000 }
  })
  expect(loadConfig(file, { mqtt: '127.0.0.1:2', dataDir: '/other' })).toMatchObject({ dataDir: '/other', mqtt: { port: 2 } })
})

test('YAML that is none is refused with its file named', () => {
  const file = join(tempDir(), 'gateway.yaml')
  writeFileSync(file, 'mqtt: [')
  expect(() => loadConfig(file, {})).toThrow(file)
})

test.each([
  ['127.0.0.1:1883', { host: '127.0.0.1', port: 1883 }],
  ['[::1]:0', { host: '::1', port: 0 }],
  ['localhost:65535', { host: 'localhost', port: 65_535 }],
  ['localhost:65536', null],
  ['1883', null],
  ['::1:1883', null],
  ['host:', null]
])('%s as an address', (text, address) => {
  expect(parseAddress(text)).toEqual(address)
})

test.each([
  ['127.0.0.1', true],
  ['127.8.9.10', true],
  ['::1', true],
  ['localhost', true],
  ['0.0.0.0', false],
  ['::', false],
  ['192.168.1.2', false],
  ['127.0.0.1.example.org', false]
])('whether only this machine reaches %s', (host, loopback) => {
  expect(isLoopback({ host, port: 1 })).toBe(loopback)
})

test('the drain budget is in readings a second, or there is none', () => {
  const file = join(tempDir(), 'gateway.yaml')
  const drain = (text: string) => {
    writeFileSync(file, `drain: ${text}\n`)
    return loadConfig(file, {}).drain
  }
  expect(drain('{}')).toEqual({ readingsPerSecond: 50_000, leastPerSecond: 1, backlogReadings: 600 })
  expect(drain('{ max_rate: 200/s, least_rate: 5/s, backlog: 10 }')).toEqual({
    readingsPerSecond: 200,
    leastPerSecond: 5,
    backlogReadings: 10
  })
  expect(drain('{ max_rate: none }')).toBeNull()
  expect(() => drain('{ max_rate: 64KiB/s }')).toThrow('drain.max_rate: write readings a second, like 50000/s, or none')
  expect(() => drain('{ least_rate: 0/s }')).toThrow('drain.least_rate')
  expect(() => drain('{ max_rates: 1/s }')).toThrow('did you mean "max_rate"?')
})
