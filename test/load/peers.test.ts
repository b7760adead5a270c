/** The peers of the comparison, as far as they are installed here. */
import { spawnSync } from 'node:child_process'
import { appendFileSync, existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
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
