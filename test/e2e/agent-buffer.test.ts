/** What agents shed, lose in a crash or find damaged reaches the gateway's ledger, and the ledger balances. */
import { readFileSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { CLI, QUICK, run, runToEnd, startGateway } from '../kit/processes.js'
import { tempDir } from '../kit/temp-dir.js'
import { until } from '../kit/until.js'

const LIVE = {
  profile: 'rotating-machine',
  source: { type: 'simulated' },
  interval: '10ms',
  publish: { backoff: { min: '20ms', max: '100ms' } }
}

function agentOf(dir: string, device: string, url: string, buffer: object) {
  const config = join(dir, `${device}.yaml`)
  const path = join(dir, `${device}.sqlite`)
  writeFileSync(config, JSON.stringify({ ...LIVE, device_id: device, gateway: { url }, buffer: { path, ...buffer } }))
  return { path, start: () => run(CLI.agent, ['start', '--config', config]), status: () => statusOf(config) }
}

/** Nothing where the agent has not made its buffer yet. */
async function statusOf(config: string): Promise<Record<string, number>> {
  const { stdout } = await runToEnd(CLI.agent, ['status', '--config', config, '--json'])
  return stdout === '' ? {} : JSON.parse(stdout)
}

test('a thinned, a killed and a damaged buffer: sampled = archived + quarantined + shed + buffered, and nothing is missing', async () => {
  const dir = tempDir()
  const dataDir = join(dir, 'data')
  let gateway = await startGateway(dataDir, QUICK)
  const { mqttUrl, mqttPort } = gateway
  const thin = agentOf(dir, 'thin', mqttUrl, { max_bytes: '64KiB' })
  const spill = agentOf(dir, 'spill', mqttUrl, { durability: 'spill', commit_interval: '200ms' })
  const damaged = agentOf(dir, 'damaged', mqttUrl, {})
  const first = [thin, spill, damaged].map(agent => agent.start())
  await until('readings of all three', async () => (await thin.status()).settled > 20)
  await gateway.stop()
  await until('a buffer that has been thinned', async () => (await thin.status()).tombstones_to_declare > 0, 60_000)
  await until('a buffer worth damaging', async () => (await damaged.status()).buffered > 200, 60_000)
  for (const { child, exit } of first) {
    child.kill('SIGKILL')
    await exit
  }
  const bytes = readFileSync(damaged.path).length
  if (bytes > 8192) truncateSync(damaged.path, Math.floor(bytes / 2 / 4096) * 4096)
  gateway = await startGateway(dataDir, QUICK, { mqttPort })
  const second = [thin, spill, damaged].map(agent => agent.start())
  for (const agent of [thin, spill, damaged])
    await until(
      'a drained buffer',
      async () => {
        const status = await agent.status()
        return status.running && status.tombstones_to_declare === 0 && status.buffered < 20
      },
      60_000
    )
  for (const { child, exit } of second) {
    child.kill('SIGTERM')
    expect(await exit).toBe(0)
  }
  await gateway.stop()
  const { code, stdout } = await runToEnd(CLI.gateway, ['ledger', '--data-dir', dataDir, '--json'])
  const ledger = JSON.parse(stdout)
  expect(ledger.total).toMatchObject({ missing: 0, doubled: 0 })
  expect({ code, ok: ledger.ok }).toEqual({ code: 0, ok: true })
  for (const { deviceId, shed, archived } of ledger.devices) {
    expect(archived, deviceId).toBeGreaterThan(20)
    expect(shed, deviceId).toBeGreaterThan(0)
  }
}, 180_000)
