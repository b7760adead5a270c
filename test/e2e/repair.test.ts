import { cpSync, existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { profileSchema } from '@tidemark/protocol'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { featureRows, marksIn, TestArchive } from '../gateway/repair/kit.js'
import type { Row } from '../kit/flush-rows.js'
import { CLI, runToEnd, startGateway } from '../kit/processes.js'
import { at, PUMP, timeline } from '../kit/timeline.js'

// `tidemark-gateway repair`, and the repairs that a running gateway makes by itself: real processes, really killed.

const pump = profileSchema.parse({ ...PUMP, corrections: '1m' })
const MARKED_HOURS = 4

let folder: string
let prepared: string

/** A data folder of two devices, whose readings of two hours came too late; nothing is repaired. */
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'tidemark-repair-e2e-'))
  prepared = join(folder, 'prepared')
  const t = timeline({ flushIntervalMs: 1000, smallHourWaitMs: 0, correctionIntervalMs: 0 }, [pump])
  for (const device of ['a', 'b']) {
    const readings = Array.from({ length: 300 }, (_, i) => ({ seq: i + 1, eventTimeMs: at('08:00') + i * 60_000 }))
    t.batch({ profile: pump, device, readings })
    const late = ['08:30:30', '09:40:30'].map((time, i) => ({ seq: 301 + i, eventTimeMs: at(time), values: { temperature: 50 } }))
    t.batch({ profile: pump, device, readings: late })
  }
  t.tick(2000)
  const archive = new TestArchive(prepared, t)
  await archive.commit()
  expect(archive.marks()).toHaveLength(MARKED_HOURS)
})
afterAll(() => rmSync(folder, { recursive: true }))

function copy(): string {
  const dataDir = mkdtempSync(join(folder, 'data-'))
  cpSync(prepared, dataDir, { recursive: true })
  onTestFinished(() => rmSync(dataDir, { recursive: true }))
  return dataDir
}

/** All revisions, without when they were made. */
async function revisions(dataDir: string): Promise<Row[]> {
  return (await featureRows(dataDir, 'feature_revisions')).map(({ known_at, computed_at, ...row }) => row)
}

async function repair(dataDir: string, env: Record<string, string> = {}) {
  return await runToEnd(CLI.gateway, ['repair', '--data-dir', dataDir, '--json'], { env })
}

describe('tidemark-gateway repair', () => {
  test('repairs the marked hours of a stopped data folder, once', async () => {
    const dataDir = copy()
    const first = await repair(dataDir)
    expect(first.code, first.stderr).toBe(0)
    expect(JSON.parse(first.stdout)).toMatchObject({ repairs: 1, marks: MARKED_HOURS, rows: 20, unchanged: 0, files: 2, marks_left: 0 })
    const after = await revisions(dataDir)
    expect(after.filter(row => row.revision === 1)).toHaveLength(20)
    const second = await repair(dataDir)
    expect(JSON.parse(second.stdout)).toMatchObject({ marks: 0, rows: 0 })
    expect(await revisions(dataDir)).toEqual(after)
  })

  // flush, commit: of the boundary that the repair is made as of; the others: of the repair itself
  test.each(['flush', 'commit', 'repair-flush', 'repair-commit', 'repair-rename'])(
    'killed at %s and run again, makes each row once',
    async point => {
      const dataDir = copy()
      const killed = await repair(dataDir, { TIDEMARK_CRASH_AT: `${point}:1` })
      expect(killed.code).toBe('SIGKILL')
      const again = await repair(dataDir)
      expect(again.code, again.stderr).toBe(0)
      const rows = await revisions(dataDir)
      expect(rows.filter(row => row.revision === 1)).toHaveLength(20)
      expect(rows.filter(row => row.temp_max_5m === 50)).toHaveLength(20)
      expect(new Set(rows.map(row => `${row.device_id} ${row.as_of} ${row.revision}`)).size).toBe(rows.length)
      expect(marksIn(dataDir)).toEqual([])
    }
  )

  test.each([
    ['a folder that is none of a gateway', () => folder, 'is no data folder of a gateway'],
    ['a folder that is not there', () => join(folder, 'no-such'), 'is no data folder of a gateway']
  ])('refuses %s in a clear line, with exit code 2', async (_, dataDir, message) => {
    const { code, stderr } = await repair(dataDir())
    expect(code).toBe(2)
    expect(stderr).toContain(message)
    expect(existsSync(join(dataDir(), 'log.sqlite'))).toBe(false)
  })

  test('refuses the folder of a running gateway', async () => {
    const dataDir = copy()
    const gateway = await startGateway(dataDir, { repair_interval: '1h' })
    const { code, stderr } = await repair(dataDir)
    expect(code).toBe(2)
    expect(stderr).toContain('a running gateway holds the data folder')
    await gateway.stop()
  })
})
