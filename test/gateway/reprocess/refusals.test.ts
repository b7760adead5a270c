/** What cannot be judged anew is refused in words that help, and nothing is changed. */
import { existsSync, readdirSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { Catalog, type CatalogFile } from '../../../gateway/src/archive/catalog.js'
import { ConfigError } from '../../../gateway/src/config.js'
import { lockDataDir } from '../../../gateway/src/data-lock.js'
import { writeGatewayFile } from '../../../gateway/src/gateway-file.js'
import { tempDir } from '../../kit/temp-dir.js'
import { at } from '../../kit/timeline.js'
import { asked, fourHours } from './as-if.js'
import { NARROW, type Reprocessed, type StoppedGateway, withRange } from './kit.js'

const WIDER: Reprocessed = { ...asked, profile: NARROW }

async function stopped(): Promise<StoppedGateway> {
  return await fourHours([withRange(-40, 50)]).stop()
}

async function refusal(gateway: StoppedGateway, run = WIDER): Promise<string> {
  const error = await gateway.reprocess(run).catch((error: unknown) => error)
  expect(error).toBeInstanceOf(ConfigError)
  expect(existsSync(join(gateway.dataDir, 'staging/reprocessing'))).toBe(false)
  return (error as ConfigError).message
}

function rawOf(gateway: StoppedGateway, hour: string): CatalogFile[] {
  return gateway.catalog(catalog => catalog.files('raw')).filter(file => file.hourMs === at(hour))
}

/** As retention does. */
function forget(gateway: StoppedGateway, files: readonly CatalogFile[]): void {
  const catalog = Catalog.open(join(gateway.dataDir, 'catalog.sqlite'))
  catalog.supersede({ old: files, files: [], atMs: 0, compaction: null, expired: [] })
  catalog.close()
  for (const { path } of files) rmSync(join(gateway.dataDir, 'archive', path))
}

test('hours whose raw frames retention has deleted, or some of them', async () => {
  const gateway = await stopped()
  const before = await gateway.said()
  forget(gateway, rawOf(gateway, '16:00').slice(1, 2))
  expect(await refusal(gateway)).toMatch(
    /raw frames are not whole from the snapshot of entry \d+ on: .*\n {2}2026-11-24T16: some of its frames are gone$/s
  )
  forget(gateway, rawOf(gateway, '16:00'))
  expect(await refusal(gateway)).toMatch(/\n {2}2026-11-24T17 or before it: the entries \d+ to \d+ are gone$/)
  expect(await gateway.said()).toEqual(before)
})

test('hours whose files are damaged', async () => {
  const gateway = await stopped()
  const [first] = rawOf(gateway, '15:00')
  const [second] = rawOf(gateway, '16:00')
  truncateSync(join(gateway.dataDir, 'archive', second.path), second.bytes - 9)
  expect(await refusal(gateway)).toMatch(/\n {2}2026-11-24T16: cannot be read \(/)
  writeFileSync(join(gateway.dataDir, 'archive', first.path), '')
  expect(await refusal(gateway)).toMatch(/\n {2}2026-11-24T15: cannot be read .*\n {2}2026-11-24T16: cannot be read/s)
})

test('a time before every kept snapshot, where the log does not begin with the raw frames', async () => {
  const gateway = await stopped()
  forget(gateway, rawOf(gateway, '14:00').slice(0, 1))
  const message = await refusal(gateway, { ...WIDER, from: '14:00' })
  expect(message).toMatch(/from the beginning of the log \(no snapshot is kept from before --from\) on: choose a later --from/)
})

test('a damaged kept snapshot is passed over for the one before, here the beginning of the log', async () => {
  const gateway = await stopped()
  const folder = join(gateway.dataDir, 'snapshots/daily')
  for (const name of readdirSync(folder)) writeFileSync(join(folder, name), 'no snapshot')
  const warnings: string[] = []
  const report = await gateway.reprocess({ ...WIDER, more: { warn: message => warnings.push(message) } })
  expect(report).toMatchObject({ changed: true, first_entry: 1 })
  expect(warnings).toEqual([expect.stringMatching(/^the kept snapshot .* is damaged \(it has 11 bytes, fewer than its head\)/)])
  expect((await gateway.ledger()).ok).toBe(true)
})

test('hours in which nothing was taken in, and rows that retention has deleted', async () => {
  const gateway = await stopped()
  expect(await refusal(gateway, { ...WIDER, from: '20:00', to: '22:00' })).toContain('no frame was taken in between --from and --to')
  const catalog = Catalog.open(join(gateway.dataDir, 'catalog.sqlite'))
  catalog.reprocessing.noteExpired({ layer: 'processed', profile: 'pump', hourMs: at('16:00') })
  catalog.close()
  expect(await refusal(gateway)).toBe(
    'retention has deleted rows that this would make anew, of 1 hours (2026-11-24T16): choose a later --from'
  )
})

test('a folder that is none of a gateway, or that a running one holds, which is named', async () => {
  const gateway = await stopped()
  const elsewhere = await gateway.reprocess({ ...WIDER, more: { dataDir: tempDir() } }).catch((error: unknown) => String(error))
  expect(elsewhere).toContain('is no data folder of a gateway')
  const lock = lockDataDir(gateway.dataDir)
  writeGatewayFile(gateway.dataDir, { http: '127.0.0.1:8080', mqtt: '127.0.0.1:1883', pid: 4711 })
  const held = await gateway.reprocess(WIDER).catch((error: unknown) => String(error))
  lock.close()
  expect(held).toMatch(/the gateway that runs as process 4711 \(http 127\.0\.0\.1:8080\) holds the data folder .*: stop it first/)
})

test.each(['replay', 'compare'] as const)('ended in the step %s it has changed nothing, and can be run again', async step => {
  const gateway = await stopped()
  const before = await gateway.everything()
  const stop = new AbortController()
  const onProgress = (progress: { readonly step: string }) => {
    if (progress.step === step) stop.abort()
  }
  await expect(gateway.reprocess({ ...WIDER, more: { signal: stop.signal, onProgress } })).rejects.toThrow('stopped: nothing was changed')
  expect(await gateway.everything()).toEqual(before)
  expect(await gateway.reprocess(WIDER)).toMatchObject({ changed: true })
})
