import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { profileSchema } from '@tidemark/protocol'
import { describe, expect, test } from 'vitest'
import { GOLDEN_CASES } from './cases.js'
import { describePayload, type Vector } from './vector.js'

const FOLDER = join(dirname(fileURLToPath(import.meta.url)), 'vectors')

if (process.env.UPDATE_GOLDEN === '1') {
  rmSync(FOLDER, { recursive: true, force: true })
  mkdirSync(FOLDER, { recursive: true })
  for (const { name, about, profile, payload } of GOLDEN_CASES) {
    writeFileSync(join(FOLDER, `${name}.bin`), payload)
    writeFileSync(join(FOLDER, `${name}.json`), `${JSON.stringify(describePayload(about, profile, payload), null, 2)}\n`)
  }
}

const names = readdirSync(FOLDER)
  .filter(file => file.endsWith('.bin'))
  .map(file => file.slice(0, -'.bin'.length))

describe('golden vectors', () => {
  test('are pairs, one for each case', () => {
    const files = names.flatMap(name => [`${name}.bin`, `${name}.json`])
    expect(readdirSync(FOLDER).sort()).toEqual(files.sort())
    expect([...names].sort()).toEqual(GOLDEN_CASES.map(({ name }) => name).sort())
  })

  test.each(names)('%s.bin decodes to what %s.json says', name => {
    const vector: Vector = JSON.parse(readFileSync(join(FOLDER, `${name}.json`), 'utf8'))
    const payload = readFileSync(join(FOLDER, `${name}.bin`))
    expect(describePayload(vector.about, profileSchema.parse(vector.profile), payload)).toEqual(vector)
  })

  test.each(GOLDEN_CASES.map(({ name, payload }) => [name, payload] as const))('%s is still encoded to the same bytes', (name, payload) => {
    expect(Buffer.from(payload).toString('hex')).toBe(readFileSync(join(FOLDER, `${name}.bin`)).toString('hex'))
  })
})
