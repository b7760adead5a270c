/** The specification says what the code does: its tables, its example, and its decoder, which is run beside ours. */
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { decode } from '@msgpack/msgpack'
import {
  BUILT_IN_PROFILES,
  decodeBatch,
  decodeDeviceConfig,
  decodeJson,
  decodeStatus,
  encodeBatch,
  profileDigest,
  profileSchema,
  REJECT_REASONS,
  ROTATING_MACHINE,
  valueAt
} from '@tidemark/protocol'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { parse } from 'yaml'
import * as limits from '../../protocol/src/limits.js'
import { GOLDEN_CASES } from '../golden/cases.js'
import { describePayload } from '../golden/vector.js'
import { arbitraryBatch } from './arbitrary-batch.js'

const README = readFileSync(new URL('../../protocol/README.md', import.meta.url), 'utf8')

function section(title: string): string {
  const [, text] = README.split(new RegExp(`^#+ ${title}$`, 'm'))
  return text.split(/^## /m)[0]
}

/** The cells of the rows of the first table in `text`, without its head. */
function table(text: string): string[][] {
  const rows = text.split('\n').filter(line => line.startsWith('|'))
  return rows.slice(2).map(row =>
    row
      .slice(1, -1)
      .split('|')
      .map(cell => cell.trim())
  )
}

const code = (language: string, text = README): string[] =>
  [...text.matchAll(new RegExp(`^\`\`\`${language}\\n([\\s\\S]*?)^\`\`\``, 'gm'))].map(match => match[1])
const unquoted = (cell: string) => cell.replaceAll('`', '')
const golden = (name: string) => GOLDEN_CASES.find(example => example.name === name)!.payload

describe('the tables of the specification', () => {
  test('name every limit with its number', () => {
    const stated = table(section('Limits')).map(([name, value]) => [unquoted(name), Number(value)])
    expect(Object.fromEntries(stated)).toEqual({ ...limits })
    expect(stated).toHaveLength(Object.keys(limits).length)
  })

  test('name every reject reason, in order', () => {
    expect(table(section('Reject reasons')).map(([reason]) => unquoted(reason))).toEqual([...REJECT_REASONS])
  })

  test('name every column that a metric may not be called', () => {
    const names = [.../columns that every row has \(([^)]+)\)/.exec(section('Profiles'))![1].matchAll(/`([a-z_]+)`/g)].map(
      ([, name]) => name
    )
    for (const name of names) expect(profileSchema.safeParse({ name: 'x', interval: '1s', metrics: [{ name }] }).success, name).toBe(false)
    expect(names).toHaveLength(22)
  })
})

describe('the worked example', () => {
  const rows = table(section('Worked example'))
  const bytesOf = (row: string[]) => Uint8Array.from(unquoted(row[0]).split(' '), byte => Number.parseInt(byte, 16))

  test('is what the encoder writes', () => {
    expect(rows.flatMap(row => [...bytesOf(row)])).toEqual([...golden('single-reading')])
    expect(section('Worked example')).toContain(`${golden('single-reading').length} bytes`)
  })

  test('says what each of its bytes is', () => {
    for (const row of rows) {
      const bytes = bytesOf(row)
      if (row[1].startsWith('array of ')) expect([...bytes]).toEqual([0x90 + Number(row[1].slice('array of '.length))])
      else expect(decode(bytes)).toBe(JSON.parse(unquoted(row[1])))
    }
  })

  test('gives the values that it names', () => {
    const batch = decodeBatch(golden('single-reading'), () => ROTATING_MACHINE)!
    for (const [m, metric] of ROTATING_MACHINE.metrics.entries()) {
      const [, , what] = rows[rows.length - ROTATING_MACHINE.metrics.length + m]
      expect(what.startsWith(metric.name)).toBe(true)
      const value = valueAt(batch.columns[m], metric, 0)
      if (typeof value === 'number' && metric.type === 'float') expect(what).toMatch(new RegExp(`^${metric.name} ${value}(:|$)`))
    }
    expect(batch.eventTimesMs).toEqual(Float64Array.of(Date.parse('2026-11-24T13:00:00Z')))
  })

  test('writes a null among differences as it says', () => {
    const rowsOfThree = [61.37, null, 61.4].map(temperature => [temperature, ...ROTATING_MACHINE.metrics.slice(1).map(() => null)])
    const columns = rowsOfThree[0].map((_, m) => ({
      kind: 'numeric' as const,
      values: Float64Array.from(rowsOfThree, row => row[m] ?? 0),
      state: Uint8Array.from(rowsOfThree, row => (row[m] === null ? 1 : 0))
    }))
    const place = { kind: 'string' as const, values: ['', '', ''], state: Uint8Array.of(1, 1, 1) }
    const seqs = [1, 2, 3]
    const payload = encodeBatch({
      profile: ROTATING_MACHINE,
      epoch: 1,
      oldestHeldSeq: 1,
      highestSampledSeq: 3,
      buffered: 3,
      seqs,
      eventTimesMs: seqs,
      columns: [...columns.slice(0, -1), place]
    })
    const stated = /column would be `([0-9a-f ]+)`/.exec(section('Worked example'))![1].replaceAll(' ', '')
    expect(Buffer.from(payload).toString('hex')).toContain(stated)
  })
})

describe('the other examples', () => {
  test('of JSON, birth, death and configuration are read', () => {
    const [reading] = code('json', section('JSON'))
    expect(decodeJson(Buffer.from(reading))).toMatchObject([
      { ok: true, reading: { eventTimeMs: Date.parse('2026-11-24T13:00:00.250Z'), profile: 'rotating-machine' } }
    ])
    const examples = code('json', section('Status, ack, config'))
    const statuses = examples.slice(0, 2).map(text => decodeStatus(Buffer.from(text)))
    expect(statuses).toMatchObject([{ state: 'online', profiles: [{ digest: profileDigest(BUILT_IN_PROFILES[0]) }] }, { state: 'offline' }])
    expect(decodeDeviceConfig(Buffer.from(examples[2]))).toMatchObject({ ok: true, config: { revision: 3, interval: '5s' } })
  })

  test('the profile reference is a valid profile and has every key', () => {
    const [yaml] = code('yaml')
    const profile = profileSchema.parse(parse(yaml))
    const { shape } = profileSchema
    const metricKeys = Object.keys(shape.metrics.element.shape)
    const featureKeys = Object.keys(shape.features.unwrap().element.shape)
    const flagKeys = shape.flags.unwrap().element.options.flatMap(option => Object.keys(option.shape))
    for (const key of [...Object.keys(shape), ...metricKeys, ...featureKeys, ...flagKeys])
      expect(yaml, key).toMatch(new RegExp(`^[- ]*${key}:`, 'm'))
    for (const aggregate of shape.features.unwrap().element.shape.aggregate.options)
      expect(section('Profiles')).toContain(`\`${aggregate}\``)
    expect(profile.metrics[0]).toMatchObject({ resolution: 0.01, required: true })
  })

  test('the built-in profiles are named with their versions', () => {
    for (const { name, version } of BUILT_IN_PROFILES) expect(section('Profiles')).toContain(`\`${name}\` ${version}`)
  })
})

const python = spawnSync('python3', ['-c', 'import sys; sys.exit(sys.version_info < (3, 8))']).status === 0
if (!python) console.warn('SKIPPED: python3 (3.8 or later) is not installed, so the decoder of protocol/README.md is not run')

describe.skipIf(!python)('the decoder of the specification', () => {
  /** Reads [payload in hex, profile] a line, prints what the decoder makes of it, as golden vectors write it. */
  const SHELL = `
import json, math, sys
def plain(value):
    if isinstance(value, list): return [plain(v) for v in value]
    if isinstance(value, dict): return {k: plain(v) for k, v in value.items()}
    if isinstance(value, float):
        if math.isnan(value): return "NaN"
        if math.isinf(value): return "Infinity" if value > 0 else "-Infinity"
        if value == 0 and math.copysign(1, value) < 0: return "-0"
    return value
for line in sys.stdin:
    payload, profile = json.loads(line)
    print(json.dumps(plain(decode(bytes.fromhex(payload), profile))))
`

  function runPython(cases: readonly { profile: object; payload: Uint8Array }[]): unknown[] {
    const folder = mkdtempSync(join(tmpdir(), 'tidemark-readme-'))
    try {
      const script = join(folder, 'decode.py')
      writeFileSync(script, code('python')[0] + SHELL)
      const input = cases.map(({ payload, profile }) => JSON.stringify([Buffer.from(payload).toString('hex'), profile])).join('\n')
      const output = execFileSync('python3', [script], { input, encoding: 'utf8', maxBuffer: 2 ** 28 })
      return output
        .trimEnd()
        .split('\n')
        .map(line => JSON.parse(line))
    } finally {
      rmSync(folder, { recursive: true })
    }
  }

  test('agrees with every golden vector', () => {
    const results = runPython(GOLDEN_CASES)
    for (const [i, { name, about, profile, payload }] of GOLDEN_CASES.entries())
      expect(results[i], name).toEqual(describePayload(about, profile, payload).decoded)
  })

  test('agrees with ours on batches that are whole and on batches with changed bytes', () => {
    const change = fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 }))
    const drawn = fc.sample(fc.tuple(arbitraryBatch, fc.oneof(fc.constant([]), fc.array(change, { minLength: 1, maxLength: 3 }))), {
      numRuns: 500,
      seed: 2026
    })
    const cases = drawn.map(([{ input }, changes]) => {
      const payload = encodeBatch(input)
      for (const [at, byte] of changes) payload[at % payload.length] = byte
      return { profile: input.profile, payload }
    })
    const results = runPython(cases)
    const ours = cases.map(({ profile, payload }) => describePayload('', profile, payload).decoded)
    for (const [i, result] of results.entries()) expect(result, Buffer.from(cases[i].payload).toString('hex')).toEqual(ours[i])
    const rejects = ours.map(decoded => (decoded === null ? 'undecodable' : 'reject' in decoded && decoded.reject))
    for (const reject of [null, 'undecodable', 'columns-damaged']) expect(rejects).toContain(reject)
  })
})
