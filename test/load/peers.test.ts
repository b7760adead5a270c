/** The peers of the comparison, as far as they are installed here. */
import { spawnSync } from 'node:child_process'
import { appendFileSync, existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, onTestFinished, test } from 'vitest'
import { measureFootprints } from '../../load/src/agent-bench/footprint.js'
import { InfluxPeer } from '../../load/src/peers/influxdb.js'
import { MosquittoPeer, ownSubscriber } from '../../load/src/peers/mosquitto.js'
import type { Peer } from '../../load/src/peers/peer.js'
import { until } from '../kit/until.js'

const has = (program: string) => existsSync(`/usr/sbin/${program}`) || spawnSync('which', [program]).status === 0

function folder(): string {
  const dir = mkdtempSync(join(tmpdir(), 'tidemark-peers-test-'))
  onTestFinished(() => rmSync(dir, { recursive: true, force: true }))
  return dir
}

async function expectToKeep(peer: Peer, restarts: boolean): Promise<void> {
  await peer.start()
  onTestFinished(() => peer.stop())
  const taken = await peer.send({ devices: 20, readingsPerS: 400, forMs: 1000, seed: 3 })
  expect(taken).toMatchObject({ sent: 400, acked: 400 })
  expect(taken.pubackMs.p99).toBeGreaterThan(0)
  await until('all readings', async () => (await peer.kept()).readings === 400)
  expect(peer.storedBytes()).toBeGreaterThan(1000)
  if (!restarts) return
  await peer.killAndRestart()
  await peer.send({ devices: 20, readingsPerS: 400, forMs: 500, seed: 4 })
  await until('those sent after the kill', async () => (await peer.kept()).readings >= 600)
}

test.skipIf(!has('mosquitto'))(
  'mosquitto and a subscriber keep a line a reading, and go on after a kill',
  async () => {
    const dir = folder()
    const peer = await MosquittoPeer.in(dir, 'mosquitto', (port, file) => ownSubscriber(dir, port, file))
    await expectToKeep(peer, true)
    const { rows, readings } = await peer.kept()
    // a line that a kill has cut, and one that is there twice
    appendFileSync(
      join(dir, 'readings.jsonl'),
      '{"device_id":"sim-000001","event_id":"x"}\n{"device_id":"sim-000001","event_id":"x"}\n{"device_i'
    )
    expect(await peer.kept()).toEqual({ rows: rows + 2, readings: readings + 1 })
  },
  60_000
)

test.skipIf(!has('influxd'))(
  'InfluxDB keeps a point a reading, and all of them after a kill',
  async () => {
    await expectToKeep(await InfluxPeer.in(folder()), true)
  },
  60_000
)

test.skipIf(!has('mosquitto'))(
  'memory and processor are those of an agent whose readings arrive, and of none that is silent',
  async () => {
    const dir = folder()
    const [agent] = await measureFootprints(
      ['agent'],
      join(dir, 'works'),
      fileURLToPath(new URL('../../agent/dist/cli.js', import.meta.url)),
      4
    )
    expect(agent.rssMb).toBeGreaterThan(30)
    expect(agent.rssMb).toBeLessThan(200)
    expect(agent.cpuPercent).toBeLessThan(100)

    const silent = join(dir, 'silent.mjs')
    writeFileSync(
      silent,
      `import { readFileSync } from 'node:fs'
      import mqtt from ${JSON.stringify(import.meta.resolve('mqtt'))}
      const { gateway } = JSON.parse(readFileSync(process.argv.at(-1), 'utf8'))
      mqtt.connect(gateway.url).publish('tm/1/bench/batch', 'once')`
    )
    await expect(measureFootprints(['agent'], join(dir, 'silent'), silent, 4)).rejects.toThrow('agent has published 0 messages in 2 s')
  },
  60_000
)
