/** `tidemark-gateway reprocess` on real processes, really killed: the archive is as it was or as it is to be, and running again finishes. */
import { cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { EventIdStore } from '../../gateway/src/processor/event-ids.js'
import { asked, fourHoursLog } from '../gateway/reprocess/as-if.js'
import { NARROW, StoppedGateway, withRange } from '../gateway/reprocess/kit.js'
import { CLI, QUICK, runToEnd, startGateway } from '../kit/processes.js'
import { until } from '../kit/until.js'

const TIGHT = withRange(-40, 50)
const HOURS = ['--from', '2026-11-24T15', '--to', '2026-11-24T17:00:00Z']

let folder: string
let profile: string
let prepared: StoppedGateway
let before: Awaited<ReturnType<StoppedGateway['said']>>
let after: typeof before
let features: Awaited<ReturnType<StoppedGateway['features']>>

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'tidemark-reprocess-e2e-'))
  profile = join(folder, 'pump.yaml')
  writeFileSync(profile, JSON.stringify(NARROW))
  const play = (eventIds: EventIdStore) => fourHoursLog(eventIds, [TIGHT], { start: [TIGHT] })
  prepared = await StoppedGateway.of(play, join(folder, 'prepared')).stop()
  before = await prepared.said()
  const judged = copy()
  await judged.reprocess({ ...asked, profile: NARROW })
  after = await judged.said()
  features = await judged.features()
  expect(after).not.toEqual(before)
}, 60_000)
afterAll(() => rmSync(folder, { recursive: true }))

function copy(): StoppedGateway {
  const dataDir = mkdtempSync(join(folder, 'data-'))
  cpSync(prepared.dataDir, dataDir, { recursive: true })
  return new StoppedGateway(prepared.t, dataDir, { isThere: true })
}

async function reprocess(dataDir: string, args: readonly string[] = HOURS, env: Record<string, string> = {}) {
  return await runToEnd(CLI.gateway, ['reprocess', '--data-dir', dataDir, '--profile', profile, ...args, '--json'], { env })
}

describe('tidemark-gateway reprocess', () => {
  test('does what it is asked for, says what it did, and finds nothing to do when run again', async () => {
    const gateway = copy()
    const first = await reprocess(gateway.dataDir)
    expect({ ...first, stdout: '' }).toEqual({ code: 0, stdout: '', stderr: '' })
    expect(JSON.parse(first.stdout)).toMatchObject({ changed: true, hours_changed: 4, readings: { removed: 0 } })
    expect(await gateway.said()).toEqual(after)
    expect(await gateway.features()).toEqual(features)
    const second = await runToEnd(CLI.gateway, ['reprocess', '--data-dir', gateway.dataDir, '--profile', profile, ...HOURS])
    expect(second.stdout).toMatch(/^replayed \d+ frames .*\nnothing differs: nothing was changed\n$/)
  })

  // replay, staged: before the commit; compact-…: in the swap of the files; repair-…: of the features that follow
  test.each([
    ['reprocess-replay:3', 'before'],
    ['compact-staged:1', 'before'],
    ['reprocess-staged:1', 'before'],
    ['compact-commit:1', 'after'],
    ['compact-moved:2', 'after'],
    ['compact-rename:1', 'after'],
    ['reprocess-commit:1', 'after'],
    ['repair-flush:1', 'after'],
    ['repair-commit:1', 'after'],
    ['repair-rename:1', 'after']
  ])('killed at %s it has left all %s, and run again it finishes', async (point, state) => {
    const gateway = copy()
    expect((await reprocess(gateway.dataDir, HOURS, { TIDEMARK_CRASH_AT: point })).code).toBe('SIGKILL')
    expect(await gateway.said()).toEqual(state === 'before' ? before : after)
    const again = await reprocess(gateway.dataDir)
    expect(again.code, again.stderr).toBe(0)
    expect(await gateway.said()).toEqual(after)
    expect(await gateway.features()).toEqual(features)
    expect(gateway.catalog(catalog => catalog.repairs())).toEqual([])
  })

  test('killed behind its commit, the next gateway finishes it, and goes on with a balanced ledger', async () => {
    const gateway = copy()
    expect((await reprocess(gateway.dataDir, HOURS, { TIDEMARK_CRASH_AT: 'compact-commit:1' })).code).toBe('SIGKILL')
    const file = join(folder, 'pump-narrow.yaml')
    writeFileSync(file, JSON.stringify(NARROW))
    const isRepairDue = () => gateway.catalog(catalog => catalog.hasRepairJobs() || catalog.repairs().length > 0)
    expect(isRepairDue()).toBe(true)
    const running = await startGateway(gateway.dataDir, { ...QUICK, profiles: [file] })
    const beside = await reprocess(gateway.dataDir)
    expect(beside).toMatchObject({ code: 2, stderr: expect.stringContaining(`the gateway that runs as process`) })
    await until('the repair', () => !isRepairDue()) // a gateway that is stopped leaves it to the next one
    expect(await running.stop()).toBe(0)
    expect(await gateway.readings()).toEqual(after.readings)
    expect(await gateway.ledger()).toEqual(after.ledger)
    expect(await gateway.features()).toEqual(features)
  })

  test.each([
    [['--from', '2026-11-24T15:30:00Z', '--to', '2026-11-24T17'], /^--from: ".*" is not at a whole hour \(UTC\)\n$/],
    [['--from', 'yesterday', '--to', '2026-11-24T17'], /^--from: "yesterday" is no hour, like 2026-11-24T13/],
    [['--from', '2026-11-24T17', '--to', '2026-11-24T17'], /^--from must lie before --to\n$/],
    [[...HOURS, '--profile', 'pumpe'], /^--profile: "pumpe" is neither a file nor a known profile; known are .*pump\n$/],
    [[...HOURS, '--data-dir', '/nowhere'], /^\/nowhere is no data folder of a gateway/]
  ])('says in a line what is wrong with %j', async (args, message) => {
    const { code, stdout, stderr } = await reprocess(prepared.dataDir, args)
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
    expect(stderr).toMatch(message)
  })
})
