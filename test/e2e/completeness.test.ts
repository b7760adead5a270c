/** `tidemark-gateway completeness` and the markers, over a real gateway that is killed on the way. */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { connectAsync } from 'mqtt'
import { expect, test } from 'vitest'
import { CLI, QUICK, type RunningGateway, runToEnd, startGateway } from '../kit/processes.js'
import { tempDir } from '../kit/temp-dir.js'
import { until } from '../kit/until.js'

const CONFIG = { ...QUICK, allowed_lateness: '1ms' }
const HOUR_MS = 3_600_000
/** A whole hour, two hours ago or more. */
const PAST_MS = Math.floor(Date.now() / HOUR_MS) * HOUR_MS - 2 * HOUR_MS

async function send(gateway: RunningGateway, ...minutes: readonly number[]): Promise<void> {
  const client = await connectAsync(gateway.mqttUrl, { clientId: 'meter-1', reconnectPeriod: 0 })
  for (const minute of minutes) {
    const reading = {
      event_id: `at ${minute}`,
      event_time: PAST_MS + minute * 60_000,
      profile: 'host',
      cpu_used: 12,
      memory_used: 30,
      load_1m: 1
    }
    await client.publishAsync('tm/1/meter-1/json', JSON.stringify(reading), { qos: 1 })
  }
  await client.endAsync()
}

interface Hour {
  hour: string
  state: string
  received: number
  duplicates: number
  late: number
  behind: { first: string[] }
}

async function hours(dataDir: string, ...args: readonly string[]): Promise<Hour[]> {
  const { code, stdout, stderr } = await runToEnd(CLI.gateway, ['completeness', '--data-dir', dataDir, '--json', ...args])
  expect(stderr).toBe('')
  expect(code).toBe(0)
  return JSON.parse(stdout)
}

test('an hour is complete, reopened by late data, and complete again; a kill leaves its marker as the catalog says', async () => {
  const dataDir = join(tempDir(), 'data')
  const hour = new Date(PAST_MS).toISOString()
  const [date, clock] = [hour.slice(0, 10), hour.slice(11, 13)]
  const marker = join(dataDir, `archive/processed/host/date=${date}/hour=${clock}/_complete.json`)
  const read = () => (existsSync(marker) ? (JSON.parse(readFileSync(marker, 'utf8')) as { rows: number; late: number }) : null)

  const first = await startGateway(dataDir, CONFIG)
  await send(first, 10, 20, 20, 70)
  await until('the marker', () => read()?.rows === 2)
  expect(await hours(dataDir)).toMatchObject([
    { hour, state: 'complete', received: 2, duplicates: 1, late: 0 },
    { state: 'open', received: 1, behind: { first: ['meter-1'] } }
  ])
  await send(first, 30)
  await until('the marker to speak of the late reading', () => read()?.rows === 3)
  expect(read()).toMatchObject({ late: 1 })
  await send(first, 80)
  first.child.kill('SIGKILL')
  await first.exit

  const second = await startGateway(dataDir, CONFIG)
  expect(read()).toMatchObject({ rows: 3, late: 1 })
  expect(await second.stop()).toBe(0)
  expect(await hours(dataDir, '--hour', `${date}T${clock}`)).toMatchObject([{ hour, state: 'complete', received: 3, late: 1 }])
  const { stdout } = await runToEnd(CLI.gateway, ['completeness', '--data-dir', dataDir, '--device', 'meter-1'])
  expect(stdout).toContain(`${date}T${clock}`)
  expect(stdout).toContain('not past it: meter-1')
  expect(stdout).toContain('(2 rows, 1 complete)')
})

test('mistakes are told in one line, with exit code 2', async () => {
  const dataDir = join(tempDir(), 'data')
  const expectLine = async (args: readonly string[], word: string) => {
    const { code, stderr } = await runToEnd(CLI.gateway, ['completeness', '--data-dir', dataDir, ...args])
    expect(stderr.trim().split('\n')).toHaveLength(1)
    expect(stderr).toContain(word)
    expect(code).toBe(2)
  }
  await expectLine([], '--data-dir')
  await expectLine(['--hour', '2026-11-24 13:00'], '2026-11-24T13')
  await (await startGateway(dataDir)).stop()
  await expectLine(['--device', 'pump-9'], 'pump-9')
})
