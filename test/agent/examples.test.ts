import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { readConfig } from '../../agent/src/config.js'
import { openSource } from '../../agent/src/sources/open-source.js'
import { liveSourceSchemas } from '../../agent/src/sources/source-schemas.js'
import { never, silent } from './kit.js'

const FOLDER = fileURLToPath(new URL('../../agent/examples', import.meta.url))
const EXAMPLES = readdirSync(FOLDER).filter(name => name.endsWith('.yaml'))

test.each(EXAMPLES)('the example %s can be read, and its sources fit its profile', async name => {
  const config = await readConfig(join(FOLDER, name))
  if (config.replay !== null) return // its recording is the reader's own
  const source = await openSource(config, { once: true, log: silent, stop: never(), previous: null })
  await source.close?.()
  expect(source.live).toBe(true)
})

test('each kind of source has an example', async () => {
  const used = new Set<string>()
  for (const name of EXAMPLES) {
    const { replay, sources } = await readConfig(join(FOLDER, name))
    for (const { type } of replay === null ? sources : [replay]) used.add(type)
  }
  const known = liveSourceSchemas.map(schema => schema.shape.type.value)
  expect([...used].sort()).toEqual([...known, 'csv'].sort())
})
