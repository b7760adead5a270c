import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { stringify } from 'yaml'
import { type Config, readConfig, withoutSecrets } from '../../agent/src/config.js'
import { ConfigError } from '../../agent/src/config-error.js'
import { sizeBytes } from '../../agent/src/config-values.js'
import { openSource } from '../../agent/src/sources/open-source.js'
import { never, silent, temporaryFolder } from './kit.js'

const MINIMAL = {
  device_id: 'pi-1',
  gateway: { url: 'mqtt://127.0.0.1:1883' },
  profile: 'host',
  buffer: { path: './pi-1.sqlite' },
  source: { type: 'system' }
}

async function write(config: object | string): Promise<string> {
  const path = join(await temporaryFolder(), 'agent.yaml')
  await writeFile(path, typeof config === 'string' ? config : stringify(config))
  return path
}

const read = async (changes: object) => readConfig(await write({ ...MINIMAL, ...changes }))

const open = (config: Config) => openSource(config, { once: false, log: silent, stop: never(), previous: null })

describe('a configuration', () => {
  test('needs five keys; all others have defaults', async () => {
    const path = await write(MINIMAL)
    expect(await readConfig(path)).toEqual({
      deviceId: 'pi-1',
      gateway: { mqttUrls: ['mqtt://127.0.0.1:1883'], httpUrl: null, httpToken: null, httpAfterMs: 30_000 },
      profile: expect.objectContaining({ name: 'host' }),
      bufferPath: join(path, '../pi-1.sqlite'),
      replay: null,
      sources: [{ type: 'system', disk: '/', root: '/' }],
      intervalMs: 10_000,
      schedule: null,
      buffer: {
        durability: 'strict',
        commitIntervalMs: 30_000,
        bytesMax: 2 ** 30,
        ageMsMax: null,
        freeBytesMin: 2 ** 26,
        whenFull: 'thin',
        ringBytesMax: 2 ** 22
      },
      publish: { inFlightMax: 8, batchReadingsMax: 500, batchBytesMax: 65_536, maxRate: null, backoff: { minMs: 500, maxMs: 300_000 } },
      logLevel: 'info',
      namedFiles: []
    })
  })

  test('gives sizes and durations with units, and paths relative to itself', async () => {
    const config = await read({
      interval: '250ms',
      buffer: { path: 'sub/b.sqlite', max_bytes: '100MiB' },
      publish: { batch_bytes: '16KiB', backoff: { min: '1s' } },
      source: { type: 'csv', path: 'r.csv', time: { column: 't', zone: 'Europe/Berlin' } }
    })
    expect(config).toMatchObject({
      intervalMs: 250,
      buffer: { bytesMax: 104_857_600 },
      publish: { batchBytesMax: 16_384, batchReadingsMax: 500, backoff: { minMs: 1000, maxMs: 300_000 } },
      sources: [],
      replay: {
        path: expect.stringMatching(/^\/.*\/r\.csv$/),
        delimiter: ',',
        speed: 'max',
        time: { zone: 'Europe/Berlin', format: 'auto' }
      }
    })
  })

  test('takes the token for HTTP from a file beside it, whose text is said nowhere', async () => {
    const path = await write({ ...MINIMAL, gateway: { url: 'mqtt://h', http: 'http://h:8080', http_token_file: 'token' } })
    const token = join(path, '..', 'token')
    await expect(readConfig(path)).rejects.toThrow(/http_token_file: cannot read .*token \(ENOENT\)/)
    for (const none of ['', 'two words, a secret\n']) {
      await writeFile(token, none)
      const error = await readConfig(path).catch((refusal: Error) => refusal)
      expect(error).toMatchObject({ message: expect.stringMatching(/token holds no token: one line/) })
      expect((error as Error).message).not.toContain('secret')
    }
    await writeFile(token, '0123456789abcdef\n')
    expect((await readConfig(path)).gateway).toMatchObject({ httpUrl: 'http://h:8080', httpToken: '0123456789abcdef' })
  })

  test.each([
    ['a token for no HTTP', { gateway: { url: 'mqtt://h', http_token_file: 't' } }, /gateway: http_token_file is for http/],
    ['a token and a user', { gateway: { url: 'mqtt://h', http: 'http://u:p@h', http_token_file: 't' } }, /gateway: .*not both/],
    ['a misspelt key', { devcie_id: 'x' }, /there is no key devcie_id; did you mean "device_id"\?/],
    [
      'a misspelt key within',
      { buffer: { path: 'b', durabilty: 'strict' } },
      /there is no key buffer\.durabilty; did you mean "durability"\?/
    ],
    [
      'a misspelt key of the source',
      { source: { type: 'csv', path: 'r', time: { column: 't' }, delimeter: ';' } },
      /there is no key source\.delimeter; did you mean "delimiter"\?/
    ],
    [
      'a misspelt key of its time',
      { source: { type: 'csv', path: 'r', time: { column: 't', zones: 'UTC' } } },
      /there is no key source\.time\.zones; did you mean "zone"\?/
    ],
    ['a key of another source', { source: { type: 'system', seed: 1 } }, /there is no key source\.seed/],
    [
      'a misspelt key with defaults around it',
      { publish: { backoff: { mx: '5m' } } },
      /there is no key publish\.backoff\.mx; did you mean "max"\?/
    ],
    ['an unknown source', { source: { type: 'cvs' } }, /there is no source\.type "cvs"; did you mean "csv"\?/],
    ['no source type', { source: {} }, /source\.type is missing; there are: csv, system, simulated, iio/],
    ['no source', { source: undefined }, /name one source, or several as sources, and not both/],
    ['one source and several', { sources: [{ type: 'system' }] }, /name one source, or several as sources, and not both/],
    [
      'a misspelt key of one of several sources',
      { source: undefined, sources: [{ type: 'system' }, { type: 'exec', comand: ['x'], command: ['x'], metrics: { load_1m: {} } }] },
      /there is no key sources\.1\.comand; did you mean "command"\?/
    ],
    [
      'a misspelt key of a mapping',
      { source: { type: 'iio', metrics: { load_1m: { device: 'd', chanel: 'c', channel: 'c' } } } },
      /there is no key source\.metrics\.load_1m\.chanel; did you mean "channel"\?/
    ],
    ['a replay among several sources', { source: undefined, sources: [{ type: 'csv' }] }, /there is no sources\.0\.type "csv"/],
    ['an interval and a schedule', { interval: '5s', schedule: '* * * * *' }, /give an interval, or a schedule, and not both/],
    [
      'a Modbus device without a line',
      { source: { type: 'modbus', metrics: { load_1m: { register: 1 } } } },
      /name a url, or a serial line/
    ],
    [
      'a topic that stands for several',
      { source: { type: 'mqtt', url: 'mqtt://h', metrics: { load_1m: { topic: 'a/#' } } } },
      /source\.metrics\.load_1m\.topic: must be a topic without \+ and #/
    ],
    ['no gateway', { gateway: undefined }, /gateway is missing/],
    ['a device ID with a slash', { device_id: 'a/b' }, /device_id: must be 1 to 64 letters/],
    ['a URL of another kind', { gateway: { url: 'http://x' } }, /gateway\.url: write mqtt:\/\/HOST:PORT/],
    ['a URL without a host', { gateway: { url: 'localhost:1883' } }, /gateway\.url: write mqtt:\/\/HOST:PORT/],
    ['an unknown profile', { profile: 'hst' }, /no built-in profile "hst"; did you mean "host"\?/],
    ['two profiles', { profile_file: 'p.yaml' }, /a built-in profile, or a profile_file, and not both/],
    ['no profile', { profile: undefined }, /a built-in profile, or a profile_file, and not both/],
    ['a size without a unit that is known', { publish: { batch_bytes: '64kb' } }, /publish\.batch_bytes: write a number and KiB/],
    [
      'a batch larger than the wire takes',
      { publish: { batch_bytes: '1MiB' } },
      /publish\.batch_bytes: must be between 256 and 122880 bytes/
    ],
    ['a duration without unit', { interval: '5' }, /interval: write a number and ms, s, m, h or d/],
    ['an interval of nothing', { interval: '0s' }, /interval: must be at least 1 ms/],
    [
      'a zone that does not exist',
      { source: { type: 'csv', path: 'r', time: { column: 't', zone: 'Europe/Berlinn' } } },
      /source\.time\.zone: is no IANA time zone/
    ],
    ['a backoff upside down', { publish: { backoff: { min: '2s', max: '1s' } } }, /publish\.backoff: min must not be above max/],
    ['a durability of another kind', { buffer: { path: 'b', durability: 'none' } }, /buffer\.durability: must be strict or spill/],
    [
      'a recording that is only spilled',
      { buffer: { path: 'b', durability: 'spill' }, source: { type: 'csv', path: 'r', time: { column: 't' } } },
      /buffer\.durability: must be strict where a recording is replayed/
    ],
    ['a url and a list of them', { gateway: { url: 'mqtt://a', urls: ['mqtt://b'] } }, /gateway: name a url, or a list of urls/],
    ['a rate without its second', { publish: { max_rate: '500' } }, /publish\.max_rate: write readings a second, like 500\/s/],
    [
      'a speed that is no number',
      { source: { type: 'csv', path: 'r', time: { column: 't' }, speed: 'fast' } },
      /source\.speed: must be max, or a factor/
    ]
  ])('with %s is refused', async (_, changes, message) => {
    await expect(read(changes)).rejects.toThrow(message)
    await expect(read(changes)).rejects.toThrow(ConfigError)
  })

  test('that is no YAML, or nothing, is refused', async () => {
    await expect(readConfig(await write('a: [1'))).rejects.toThrow(/is no valid YAML/)
    await expect(readConfig(await write(''))).rejects.toThrow(ConfigError)
  })

  test('may name a profile of its own, which is checked too', async () => {
    const folder = await temporaryFolder()
    await writeFile(join(folder, 'agent.yaml'), stringify({ ...MINIMAL, profile: undefined, profile_file: 'p.yaml' }))
    await writeFile(join(folder, 'p.yaml'), stringify({ name: 'mine', interval: '5m', metrics: [{ name: 'cpu_used' }] }))
    expect(await readConfig(join(folder, 'agent.yaml'))).toMatchObject({ profile: { name: 'mine' }, intervalMs: 300_000 })
    await writeFile(join(folder, 'p.yaml'), stringify({ name: 'mine', intervall: '5m', metrics: [{ name: 'cpu_used' }] }))
    await expect(readConfig(join(folder, 'agent.yaml'))).rejects.toThrow(
      /p\.yaml: interval is missing; there is no key intervall; did you mean "interval"\?/
    )
  })

  test('whose profile the source cannot fill is refused', async () => {
    const config = await read({ profile: 'rotating-machine' })
    await expect(open(config)).rejects.toThrow(/the system source gives no metric of profile rotating-machine; it gives: cpu_used/)
  })

  test.each([
    [
      'gives a metric twice',
      { sources: [{ type: 'system' }, { type: 'thermal', metrics: { cpu_temperature: { zone: 'z' } } }] },
      /both system and thermal give cpu_temperature/
    ],
    [
      'leaves a required metric out',
      { sources: [{ type: 'system', metrics: ['cpu_used'] }] },
      /requires memory_used, which no source gives/
    ],
    ['names a metric that is not there', { sources: [{ type: 'thermal', metrics: { cpu_temp: { zone: 'z' } } }] }, /no such metric/],
    [
      'waits longer than the interval',
      { sources: [{ type: 'system', timeout: '11s' }] },
      /timeout must not be above the interval, 10000 ms/
    ],
    ['has a schedule that is none', { sources: [{ type: 'system' }], schedule: 'at noon' }, /schedule: "at noon" is no cron expression/]
  ])('that %s is refused', async (_, changes, message) => {
    await expect(open(await read({ source: undefined, ...changes }))).rejects.toThrow(message)
    await expect(open(await read({ source: undefined, ...changes }))).rejects.toThrow(ConfigError)
  })
})

test('sizes are whole numbers with a unit', () => {
  expect(['1B', '64KiB', '2MB', '1GiB'].map(sizeBytes)).toEqual([1, 65_536, 2_000_000, 1_073_741_824])
  expect(() => sizeBytes('1.5MiB')).toThrow(RangeError)
})

test('a URL is logged without user and password', () => {
  expect(withoutSecrets('mqtt://user:p%40ss@host:1883')).toBe('mqtt://host:1883')
})
