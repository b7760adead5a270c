import {
  BUILT_IN_PROFILES,
  decimalsOf,
  HOST,
  type Profile,
  profileDigest,
  profileSchema,
  ROTATING_MACHINE,
  WATER_LOOP
} from '@tidemark/protocol'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'

const DIGESTS = ['75cf90750ffa427d', '6848b4637e052549', 'd8055682b149519f']
const LEAST = { name: 'pump', interval: '5s', metrics: [{ name: 'flow' }] }

/** What a person reads of a profile that is refused. */
function complaints(change: object): string {
  const result = profileSchema.safeParse({ ...LEAST, ...change })
  return result.success ? 'accepted' : z.prettifyError(result.error)
}

describe('built-in profiles', () => {
  test('are what the schema makes of them', () => {
    for (const profile of BUILT_IN_PROFILES) expect(profileSchema.parse(profile)).toEqual(profile)
    expect(BUILT_IN_PROFILES.map(profile => `${profile.name} ${profile.version}`)).toEqual(['rotating-machine 1', 'water-loop 1', 'host 1'])
  })

  // A change of a built-in profile is a new version of it: devices and archives hold these digests.
  test('have not changed without a new version', () => {
    expect(BUILT_IN_PROFILES.map(profileDigest)).toEqual(DIGESTS)
  })

  test('of the water loop carry floats to the bit, in the order of the recordings', () => {
    expect(WATER_LOOP.metrics.map(decimalsOf)).toEqual(new Array(8).fill(null))
    expect(WATER_LOOP.metrics.map(metric => metric.name).slice(4, 6)).toEqual(['temperature', 'fluid_temperature'])
  })

  test('of machines have ten metrics, of which temperature and vibration are required', () => {
    expect(ROTATING_MACHINE.metrics).toHaveLength(10)
    expect(ROTATING_MACHINE.metrics.filter(metric => metric.required).map(metric => metric.name)).toEqual(['temperature', 'vibration'])
    expect(HOST.metrics.every(metric => metric.type !== 'string')).toBe(true)
  })
})

describe('a profile', () => {
  test('needs a name, an interval and a metric; the rest has defaults', () => {
    expect(profileSchema.parse(LEAST)).toEqual({
      name: 'pump',
      version: 1,
      evolution: 'strict',
      interval: '5s',
      hop: '1m',
      corrections: '15m',
      metrics: [{ name: 'flow', unit: '', type: 'float', required: false, on_out_of_range: 'quarantine' }],
      features: [],
      flags: []
    })
  })

  test('may say null with or without quotes, which differ in YAML', () => {
    for (const on_out_of_range of ['null', null]) {
      expect(profileSchema.parse({ ...LEAST, metrics: [{ name: 'flow', on_out_of_range }] }).metrics[0].on_out_of_range).toBe('null')
    }
    expect(complaints({ metrics: [{ name: 'flow', on_out_of_range: 'drop' }] })).toMatch(
      /"quarantine"\|"null"\s+→ at metrics\[0\].on_out_of_range/
    )
  })

  const mean = { name: 'flow_mean', metric: 'flow', aggregate: 'mean', window: '10m' }
  const refused: [string, object, RegExp][] = [
    ['an unknown key', { metric: [] }, /Unrecognized key: "metric"/],
    ['an unknown key of a metric', { metrics: [{ name: 'flow', minimum: 0 }] }, /Unrecognized key: "minimum"\s+→ at metrics\[0\]/],
    ['a key named __proto__', JSON.parse('{"metrics":[{"name":"flow","__proto__":{"required":true}}]}'), /Unrecognized key: "__proto__"/],
    ['no metrics', { metrics: [] }, /at metrics/],
    ['257 metrics', { metrics: Array.from({ length: 257 }, (_, i) => ({ name: `m${i}` })) }, /at metrics/],
    ['a version of 0', { version: 0 }, /at version/],
    ['a version of 65536', { version: 65_536 }, /at version/],
    ['a name with a slash', { name: '../pump' }, /use a-z, 0-9, _ and -, beginning with a letter\s+→ at name/],
    ['a metric in capitals', { metrics: [{ name: 'Flow' }] }, /use a-z, 0-9 and _, beginning with a letter\s+→ at metrics\[0\].name/],
    ['a metric of 65 characters', { metrics: [{ name: 'x'.repeat(65) }] }, /at metrics\[0\].name/],
    ['a metric named like a column of every row', { metrics: [{ name: 'event_time' }] }, /is the name of a column that every row has/],
    ['two metrics of one name', { metrics: [{ name: 'flow' }, { name: 'flow' }] }, /two metrics have the same name/],
    ['a type that does not exist', { metrics: [{ name: 'flow', type: 'double' }] }, /"float"\|"int"\|"bool"\|"string"/],
    ['a min above the max', { metrics: [{ name: 'flow', min: 2, max: 1 }] }, /flow: min is above max/],
    ['a limit that is not finite', { metrics: [{ name: 'flow', max: Number.POSITIVE_INFINITY }] }, /at metrics\[0\].max/],
    ['a resolution that is no power of ten', { metrics: [{ name: 'flow', resolution: 0.05 }] }, /must be 1, 0.1, 0.01, … or 10\^-9/],
    ['a resolution of 10^-10', { metrics: [{ name: 'flow', resolution: 1e-10 }] }, /must be 1, 0.1/],
    ['a resolution of an int', { metrics: [{ name: 'flow', type: 'int', resolution: 1 }] }, /flow: only a float has a resolution/],
    ['a bool with a limit', { metrics: [{ name: 'on', type: 'bool', max: 1 }] }, /on: a bool has neither min nor max/],
    [
      'a string whose length is a fraction',
      { metrics: [{ name: 'place', type: 'string', max: 1.5 }] },
      /place: min and max of a string are its lengths/
    ],
    [
      'a required metric that may become null',
      { metrics: [{ name: 'flow', required: true, on_out_of_range: 'null' }] },
      /flow: what is required cannot become null/
    ],
    ['a duration without a unit', { interval: '5' }, /write a number and ms, s, m, h or d, like 10m\s+→ at interval/],
    ['a duration that is a number', { interval: 5 }, /expected string, received number\s+→ at interval/],
    ['a duration of 0', { hop: '0s' }, /must be more than 0 and at most 366d\s+→ at hop/],
    ['a duration of 367 days', { corrections: '367d' }, /at most 366d\s+→ at corrections/],
    ['a feature of no metric', { features: [{ ...mean, metric: 'speed' }] }, /flow_mean: there is no numeric metric "speed"/],
    [
      'a feature of a string',
      { metrics: [{ name: 'flow', type: 'string' }], features: [mean] },
      /flow_mean: there is no numeric metric "flow"/
    ],
    ['a feature with the name of a metric', { features: [{ ...mean, name: 'flow' }] }, /flow: the name is taken/],
    ['two features of one name', { features: [mean, mean] }, /flow_mean: the name is taken/],
    ['a feature named like a column of every row', { features: [{ ...mean, name: 'as_of' }] }, /as_of: the name is taken/],
    [
      'a window that its hop does not divide',
      { features: [{ ...mean, window: '90s' }] },
      /flow_mean: its window is no multiple of its hop/
    ],
    [
      "a hop that the profile's does not divide",
      { features: [{ ...mean, window: '3m', hop: '90s' }] },
      /flow_mean: its hop is no multiple of the profile's hop/
    ],
    ['a window of 1441 hops', { features: [{ ...mean, window: '1441m' }] }, /flow_mean: its window has more than 1440 hops/],
    ['a window that cannot be read', { features: [{ ...mean, window: '1w' }] }, /write a number and ms.*\s+→ at features\[0\].window/],
    ['an aggregate that does not exist', { features: [{ ...mean, aggregate: 'median' }] }, /at features\[0\].aggregate/],
    [
      'a flag of no feature',
      { flags: [{ name: 'spike', flag: 'exceeds', metric: 'flow', of: 'nothing', factor: 2 }] },
      /spike: there is no feature "nothing"/
    ],
    ['a flag of no kind', { flags: [{ name: 'spike', flag: 'above', metric: 'flow' }] }, /at flags\[0\].flag/],
    [
      'a flag with a factor of 0',
      { features: [mean], flags: [{ name: 'spike', flag: 'exceeds', metric: 'flow', of: 'flow_mean', factor: 0 }] },
      /at flags\[0\].factor/
    ],
    [
      'a flag with the name of a feature',
      { features: [mean], flags: [{ name: 'flow_mean', flag: 'exceeds', metric: 'flow', of: 'flow_mean', factor: 2 }] },
      /flow_mean: the name is taken/
    ]
  ]
  for (const [what, change, complaint] of refused)
    test(`with ${what} is refused in words`, () => expect(complaints(change)).toMatch(complaint))

  test('that is no object is refused, never thrown at', () => {
    for (const value of [null, undefined, 7, 'x', [], () => 0]) expect(profileSchema.safeParse(value).success).toBe(false)
  })

  test('knows the decimals of its metrics', () => {
    const decimals = (metric: object) => decimalsOf(profileSchema.parse({ ...LEAST, metrics: [{ name: 'm', ...metric }] }).metrics[0])
    expect([1, 0.1, 0.01, 0.001, 1e-9].map(resolution => decimals({ resolution }))).toEqual([0, 1, 2, 3, 9])
    expect([decimals({}), decimals({ type: 'int' }), decimals({ type: 'bool' }), decimals({ type: 'string' })]).toEqual([
      null,
      0,
      null,
      null
    ])
  })
})

describe('the digest', () => {
  const profile = profileSchema.parse({ ...LEAST, metrics: [{ name: 'flow', unit: 'm³/h', min: 0 }] })

  test('does not depend on the order of keys', () => {
    const reversed = (value: unknown): unknown =>
      Array.isArray(value)
        ? value.map(reversed)
        : typeof value === 'object' && value !== null
          ? Object.fromEntries(
              Object.entries(value)
                .map(([k, v]) => [k, reversed(v)])
                .reverse()
            )
          : value
    const turned = reversed(profile) as Profile
    expect(Object.keys(turned)).not.toEqual(Object.keys(profile))
    expect(profileDigest(turned)).toBe(profileDigest(profile))
  })

  test('depends on every value, and on the order of metrics', () => {
    const changed = [
      { version: 2 },
      { interval: '6s' },
      { metrics: [{ ...profile.metrics[0], min: 1 }] },
      { metrics: [...profile.metrics, { name: 'a' }] },
      { metrics: [{ name: 'a' }, ...profile.metrics] }
    ]
    const digests = changed.map(change => profileDigest(profileSchema.parse({ ...profile, ...change })))
    expect(new Set([profileDigest(profile), ...digests]).size).toBe(changed.length + 1)
  })

  test('is FNV-1a over the UTF-8 bytes of the canonical JSON, as the specification says', () => {
    const text =
      '{"corrections":"15m","evolution":"strict","features":[],"flags":[],"hop":"1m","interval":"5s","metrics":[{"min":0,"name":"flow","on_out_of_range":"quarantine","required":false,"type":"float","unit":"m³/h"}],"name":"pump","version":1}'
    let hash = 0xcbf29ce484222325n
    for (const byte of new TextEncoder().encode(text)) hash = BigInt.asUintN(64, (hash ^ BigInt(byte)) * 0x100000001b3n)
    expect(profileDigest(profile)).toBe(hash.toString(16).padStart(16, '0'))
  })
})
