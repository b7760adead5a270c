import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type Profile, profileSchema, type Value } from '@tidemark/protocol'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type CsvConfig, openCsv } from '../../agent/src/sources/csv.js'
import { timeReader } from '../../agent/src/sources/csv-time.js'
import { readValue } from '../../agent/src/sources/csv-value.js'
import type { SourceEntry, SourceGroup } from '../../agent/src/sources/source.js'
import { temporaryFolder } from './kit.js'

const PROFILE = profileSchema.parse({
  name: 'mixed',
  interval: '1s',
  metrics: [
    { name: 'value', required: true },
    { name: 'count', type: 'int' },
    { name: 'on', type: 'bool' },
    { name: 'place', type: 'string' }
  ]
})

const CONFIG = {
  delimiter: ',',
  decimal: '.',
  time: { column: 'time', zone: 'UTC', format: 'auto' },
  columns: {},
  speed: 'max'
} as const

async function open(text: string, changes: Partial<CsvConfig> = {}, profile: Profile = PROFILE) {
  const path = join(await temporaryFolder(), 'recording.csv')
  await writeFile(path, text)
  return openCsv({ ...CONFIG, path, ...changes }, profile)
}

async function groupsOf(text: string, changes: Partial<CsvConfig> = {}, position: string | null = null): Promise<SourceGroup[]> {
  const source = await open(text, changes)
  const groups: SourceGroup[] = []
  for await (const group of source.groups(position, new AbortController().signal)) groups.push(group)
  return groups
}

const entriesOf = async (text: string, changes: Partial<CsvConfig> = {}): Promise<SourceEntry[]> =>
  (await groupsOf(text, changes)).flatMap(group => group.entries)
const valuesOf = (entry: SourceEntry): readonly Value[] => ('shed' in entry ? [] : entry.values)
const timeOf = (entry: SourceEntry): number | null => ('eventTimeMs' in entry ? entry.eventTimeMs : null)

describe('rows', () => {
  test('are readings, with a column for each metric by name or by mapping', async () => {
    const [entry] = await entriesOf('time,x,count,on,place\n2020-03-09 10:14:33,0.0265878,7,true,"hall 3, left"\n', {
      columns: { value: 'x' }
    })
    expect(entry).toEqual({ eventTimeMs: Date.UTC(2020, 2, 9, 10, 14, 33), values: [0.0265878, 7, true, 'hall 3, left'] })
  })

  test('count each, where times repeat, leave a gap or run back', async () => {
    const times = ['10:00:00', '10:00:01', '10:00:01', '10:09:00', '09:05:00']
    const entries = await entriesOf(`time,value\n${times.map((time, i) => `2020-03-09 ${time},${i}`).join('\n')}`)
    expect(entries.map(entry => valuesOf(entry)[0])).toEqual([0, 1, 2, 3, 4])
    expect(entries.map(entry => new Date(timeOf(entry)!).toISOString().slice(11, 19))).toEqual(times)
  })

  test('may be blank, quoted, ended by CR LF, begun by a byte order mark, and the last need not end', async () => {
    const entries = await entriesOf('\ufefftime;value;place\r\n\r\n2020-03-09 10:00:00;1;"a\r\nb ""c"""\r\n\r\n2020-03-09 10:00:01;2;é', {
      delimiter: ';'
    })
    expect(entries.map(entry => [valuesOf(entry)[0], valuesOf(entry)[3]])).toEqual([
      [1, 'a\r\nb "c"'],
      [2, 'é']
    ])
  })

  test('with a value that cannot be read store null for it, tell it with its row, and count it', async () => {
    const [group] = await groupsOf(
      'time,value,count,on\n2020-03-09 10:00:00,1,2,yes\n2020-03-09 10:00:01,abc,-,maybe\n2020-03-09 10:00:02,3\n'
    )
    expect(group.entries.map(valuesOf)).toEqual([
      [1, 2, true, null],
      [null, null, null, null],
      [3, null, null, null]
    ])
    expect(group.nulledValues).toBe(5)
    expect(group.problems[0]).toBe('row 2: "abc" is no float, so null is stored for value')
    expect(group.problems[3]).toBe('row 3: the row ends before count')
  })

  test('with a time that cannot be read take a seq and are declared as shed, and tell it', async () => {
    const [group] = await groupsOf('time,value\n2020-03-09 10:00:00,1\n2020-02-30 10:00:00,2\n,3\n2020-03-09 10:00:03,4\n')
    expect(group.entries.map(entry => ('shed' in entry ? entry.shed : valuesOf(entry)[0]))).toEqual([1, 'unreadable', 'unreadable', 4])
    expect(group.problems).toEqual([
      'row 2: "2020-02-30 10:00:00" is no time, so the row is declared as shed (unreadable)',
      'row 3: "" is no time, so the row is declared as shed (unreadable)'
    ])
  })

  test('whose problems are many name a few and count the rest', async () => {
    const [group] = await groupsOf(`time,value\n${'2020-03-09 10:00:00,abc\n'.repeat(100)}`)
    expect(group.problems).toHaveLength(6)
    expect(group.problems[5]).toBe('and 95 more problems in these rows')
    expect(group.nulledValues).toBe(100)
  })

  test('before a quote that is never closed are given before the error', async () => {
    const source = await open('time,value\n2020-03-09 10:00:00,1\n"2020-03-09 10:00:01,2\n2020-03-09 10:00:02,3\n')
    const groups: SourceGroup[] = []
    const reading = (async () => {
      for await (const group of source.groups(null, new AbortController().signal)) groups.push(group)
    })()
    await expect(reading).rejects.toThrow(/Quote Not Closed.*line 4|Quote Not Closed/)
    expect(groups.flatMap(group => group.entries)).toHaveLength(1)
  })

  test('are read again from any position without a repeat or a gap', async () => {
    const field = fc.string({ unit: fc.constantFrom('a', 'é', '"', '\n', '\r\n', ',', ' ', '漢'), maxLength: 6 })
    const quote = (text: string) => `"${text.replaceAll('"', '""')}"`
    await fc.assert(
      fc.asyncProperty(
        fc.array(field, { minLength: 1, maxLength: 1200 }),
        fc.constantFrom('\n', '\r\n', '\n\n'),
        fc.boolean(),
        async (places, end, mark) => {
          const rows = places.map((place, i) => `${Date.UTC(2020, 2, 9) + i},${i},${quote(place)}`)
          const text = `${mark ? '\ufeff' : ''}time,value,place${end}${rows.join(end)}`
          const source = await open(text)
          const whole: SourceGroup[] = []
          for await (const group of source.groups(null, new AbortController().signal)) whole.push(group)
          expect(whole.flatMap(group => group.entries.map(entry => valuesOf(entry)[0]))).toEqual(places.map((_, i) => i))
          for (const [i, { position }] of whole.entries()) {
            const rest: SourceEntry[] = []
            for await (const group of source.groups(position, new AbortController().signal)) rest.push(...group.entries)
            expect(rest).toEqual(whole.slice(i + 1).flatMap(group => group.entries))
          }
        }
      ),
      { numRuns: 25 }
    )
  })
})

describe('the pace', () => {
  test('of a factor follows the recorded times, and a step back takes no time', async () => {
    const source = await open('time,value\n1583700000000,1\n1583700000200,2\n1583700000000,3\n1583700000100,4\n', { speed: 2 })
    const started = performance.now()
    const at: number[] = []
    for await (const group of source.groups(null, new AbortController().signal))
      for (const _ of group.entries) at.push(performance.now() - started)
    expect(at).toHaveLength(4)
    expect(at[1]).toBeGreaterThanOrEqual(99)
    expect(at[3]).toBeGreaterThanOrEqual(149)
  })

  test('is left at once when the agent stops', async () => {
    const source = await open('time,value\n2020-03-09 10:00:00,1\n2021-03-09 10:00:00,2\n', { speed: 1 })
    const stopping = new AbortController()
    const values: Value[] = []
    for await (const group of source.groups(null, stopping.signal)) {
      values.push(...group.entries.map(entry => valuesOf(entry)[0]))
      stopping.abort()
    }
    expect(values).toEqual([1])
  })
})

describe('a recording that is not as configured', () => {
  const row = '2020-03-09 10:00:00,1\n'

  test.each([
    [
      'has no such time column',
      'when,value\n',
      { time: { ...CONFIG.time, column: 'wehn' } },
      /has no column "wehn"; did you mean "when"\?/
    ],
    ['has another delimiter', 'time;value\n', {}, /has no column "time"; it has one column, so check source.delimiter/],
    ['has no such column', `time,value\n${row}`, { columns: { value: 'vaule' } }, /has no column "vaule"; did you mean "value"\?/],
    ['maps a metric that is none', `time,value\n${row}`, { columns: { valu: 'value' } }, /has no metric "valu"; did you mean "value"\?/],
    ['lacks a required metric', 'time,count\n', {}, /requires value: say which column it is/],
    ['is empty', '', {}, /is empty: its first row must name the columns/]
  ])('and %s is refused', async (_, text, changes, message) => {
    await expect(open(text, changes)).rejects.toThrow(message)
  })

  test('and does not exist is refused', async () => {
    await expect(openCsv({ ...CONFIG, path: '/nowhere/recording.csv' }, PROFILE)).rejects.toThrow(/source.path: there is no file/)
  })

  test('because none of its times can be read is refused, rather than shed row by row', async () => {
    await expect(groupsOf(`time,value\n${'09.03.2020 10:00,1\n'.repeat(100)}`)).rejects.toThrow(
      /"09.03.2020 10:00" is not ISO 8601.*check source.time/
    )
  })

  test('because it is not the one that the position belongs to is refused', async () => {
    const [{ position }] = await groupsOf(`time,value\n${row}`)
    await expect(groupsOf(`time,value,place\n${row}`, {}, position)).rejects.toThrow(/is not the recording that was read up to byte 33/)
    await expect(groupsOf('time,value\n', {}, position)).rejects.toThrow(/is not the recording/)
  })
})

describe('times', () => {
  const read = async (text: string, zone = 'UTC', format = 'auto') => {
    const ms = (await timeReader(zone, format))(text)
    return ms === null ? null : new Date(ms).toISOString()
  }

  test.each([
    ['2020-03-09 10:14:33', '2020-03-09T10:14:33.000Z'],
    ['2020-03-09T10:14:33.1239', '2020-03-09T10:14:33.123Z'],
    ['2020/3/9 9:05', '2020-03-09T09:05:00.000Z'],
    ['2020-03-09', '2020-03-09T00:00:00.000Z'],
    ['2020-03-09T10:14:33Z', '2020-03-09T10:14:33.000Z'],
    ['2020-03-09T10:14:33+05:30', '2020-03-09T04:44:33.000Z'],
    ['2020-03-09 10:14:33 -0800', '2020-03-09T18:14:33.000Z'],
    ['1583748873123', '2020-03-09T10:14:33.123Z']
  ])('%s is %s', async (text, iso) => {
    expect(await read(text)).toBe(iso)
  })

  test.each([
    '',
    'now',
    '2020-13-01 00:00:00',
    '2021-02-29 00:00:00',
    '2020-03-09 24:00:00',
    '2020-03-09 10:60:00',
    '1583748873',
    '20200309',
    'NaN',
    '9'.repeat(17)
  ])('"%s" is none', async text => {
    expect(await read(text)).toBeNull()
  })

  test('without a zone are local in the configured one, summer and winter, and at the hours that a change repeats or skips', async () => {
    const berlin = (text: string) => read(text, 'Europe/Berlin')
    expect(await berlin('2020-01-15 12:00:00')).toBe('2020-01-15T11:00:00.000Z')
    expect(await berlin('2020-07-15 12:00:00')).toBe('2020-07-15T10:00:00.000Z')
    expect(await berlin('2020-07-15T12:00:00Z')).toBe('2020-07-15T12:00:00.000Z')
    expect(await berlin('2020-10-25 02:30:00')).toBe('2020-10-25T00:30:00.000Z') // twice: the first
    expect(await berlin('2020-03-29 02:30:00')).toBe('2020-03-29T01:30:00.000Z') // never: behind the gap
    expect(await read('2020-03-09 10:00:00', 'Asia/Kolkata')).toBe('2020-03-09T04:30:00.000Z')
  })

  test('agree with Intl in every zone and at every second', () => {
    const zones = ['America/New_York', 'Asia/Kathmandu', 'Australia/Lord_Howe', 'Africa/Casablanca']
    return fc.assert(
      fc.asyncProperty(fc.constantFrom(...zones), fc.integer({ min: 946_684_800, max: 1_900_000_000 }), async (zone, second) => {
        const local = new Intl.DateTimeFormat('sv-SE', { timeZone: zone, dateStyle: 'short', timeStyle: 'medium' }).format(second * 1000)
        const ms = (await timeReader(zone, 'auto'))(local)
        // The same local time may exist twice, so the answer is compared as local time.
        expect(new Intl.DateTimeFormat('sv-SE', { timeZone: zone, dateStyle: 'short', timeStyle: 'medium' }).format(ms!)).toBe(local)
      }),
      { numRuns: 200 }
    )
  })

  test('have formats of their own, by tokens, or as Unix s', async () => {
    expect(await read('09.03.2020 10:14:33', 'Europe/Berlin', 'dd.MM.yyyy HH:mm:ss')).toBe('2020-03-09T09:14:33.000Z')
    expect(await read('2020-03-09 10:14:33', 'UTC', 'dd.MM.yyyy HH:mm:ss')).toBeNull()
    expect(await read('1583748873.5', 'UTC', 'unix_s')).toBe('2020-03-09T10:14:33.500Z')
    expect(await read('1583748873123', 'UTC', 'unix_ms')).toBe('2020-03-09T10:14:33.123Z')
  })
})

describe('values', () => {
  const [float, , bool, text] = PROFILE.metrics
  test('NaN and the infinities are floats: the gateway judges them', () => {
    expect(['NaN', 'nan', 'inf', '-inf', '+Infinity', '-INF'].map(value => readValue(value, float, '.'))).toEqual([
      Number.NaN,
      Number.NaN,
      Number.POSITIVE_INFINITY,
      Number.NEGATIVE_INFINITY,
      Number.POSITIVE_INFINITY,
      Number.NEGATIVE_INFINITY
    ])
  })

  test('every double reads back to the bit', () => {
    fc.assert(
      fc.property(fc.double({ noNaN: true }), value => {
        expect(readValue(Object.is(value, -0) ? '-0' : String(value), float, '.')).toBe(value)
      })
    )
  })

  test.each(['0x10', '1,5', '1_000', '1 2', '--1', 'e5', '.', 'infinite', '1e'])('"%s" is no number', value => {
    expect(readValue(value, float, '.')).toBeUndefined()
  })

  test('a comma is the decimal mark where that is configured', () => {
    expect(readValue('1,5', float, ',')).toBe(1.5)
  })

  test('an empty field is null, of any type', () => {
    expect([float, bool, text].map(metric => readValue('', metric, '.'))).toEqual([null, null, null])
    expect(readValue(' NA ', float, '.')).toBeNull()
    expect(readValue(' ', text, '.')).toBe(' ')
  })
})
