/**
 * SIGKILL keeps the page cache, so it proves nothing about fsync. Here real processes run under strace, and the order of their
 * system calls is looked at: an fsync has returned before what depends on it begins.
 */
import { writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import mqtt from 'mqtt'
import type { IPublishPacket } from 'mqtt-packet'
import { beforeAll, describe, expect, test } from 'vitest'
import { freePort } from '../kit/free-port.js'
import { CLI, QUICK, type RunningGateway, run, runToEnd, startGateway } from '../kit/processes.js'
import { hasStrace, packetsOf, readTrace, type SystemCall, straceTo } from '../kit/strace.js'
import { tempDir } from '../kit/temp-dir.js'
import { until } from '../kit/until.js'

beforeAll(() => {
  if (!hasStrace) throw new Error('these tests need strace: apt-get install strace')
})

/** The first fsync of the file that begins behind `place`. */
function fsyncBehind(calls: readonly SystemCall[], path: string, place: number): SystemCall | undefined {
  return calls.find(call => (call.name === 'fsync' || call.name === 'fdatasync') && call.path === path && call.begin > place)
}

function writeOf(calls: readonly SystemCall[], path: string, text: string): SystemCall | undefined {
  return calls.find(call => call.name === 'pwrite64' && call.path === path && call.data.includes(text))
}

describe('the gateway', () => {
  test.each([1, 2])(
    'with %i fronts fsyncs the log entry with the payload before it writes its PUBACK, and files and folders around the catalog',
    async processes => {
      const dir = tempDir()
      const trace = join(dir, 'trace')
      const gateway = await startGateway(join(dir, 'data'), { ...QUICK, front: { processes } }, { under: straceTo(trace) })
      const client = await mqtt.connectAsync(gateway.mqttUrl, { clientId: 'press-1' })
      const markers = Array.from({ length: 20 }, (_, i) => `marker-${i}-${'abcdefghij'[i % 10].repeat(8)}`)
      for (const [i, event_id] of markers.entries()) {
        if (i === 10) await until('a flush of the first ten', () => isFlushed(gateway, 10))
        const reading = { event_id, event_time: Date.now(), profile: 'rotating-machine', temperature: 20, vibration: 1 }
        await client.publishAsync('tm/1/press-1/json', JSON.stringify(reading), { qos: 1 })
      }
      await client.endAsync()
      expect(await gateway.stop()).toBe(0)
      const calls = readTrace(trace)
      expectFsyncBeforePuback(calls, join(dir, 'data/log.sqlite-wal'), markers)
      expectFilesAroundCommit(calls, join(dir, 'data'))
    }
  )
})

/** Whether so many readings are archived, or about to be, and none waits for others: asked in this order, since none waits before they come either. */
async function isFlushed(gateway: RunningGateway, readings: number): Promise<boolean> {
  const archived = await gateway.metric('tidemark_readings_archived_total')
  return archived >= readings && (await gateway.metric('tidemark_rows_waiting')) === 0
}

function expectFsyncBeforePuback(calls: readonly SystemCall[], wal: string, markers: readonly string[]): void {
  const published = packetsOf(calls, 'in').filter(({ packet }) => packet.cmd === 'publish')
  const acks = packetsOf(calls, 'out').filter(({ packet }) => packet.cmd === 'puback')
  for (const marker of markers) {
    const publish = published.find(({ packet }) => (packet as IPublishPacket).payload.includes(marker))
    const ack = acks.find(({ packet, call }) => packet.messageId === publish?.packet.messageId && call.begin > publish!.call.end)
    const write = writeOf(calls, wal, marker)
    const fsync = fsyncBehind(calls, wal, write?.end ?? Number.POSITIVE_INFINITY)
    expect(fsync, `an fsync of the entry with ${marker}`).toBeDefined()
    expect(ack, `a PUBACK of ${marker}`).toBeDefined()
    expect(fsync!.end, `${marker}: fsync before PUBACK`).toBeLessThan(ack!.call.begin)
  }
}

/** file fsynced -> catalog written and fsynced -> renamed -> folder fsynced */
function expectFilesAroundCommit(calls: readonly SystemCall[], dataDir: string): void {
  const catalog = join(dataDir, 'catalog.sqlite-wal')
  const renames = calls.filter(call => call.name.startsWith('rename') && call.target.startsWith(join(dataDir, 'archive')))
  expect(renames.filter(call => call.target.includes('/processed/')).length).toBeGreaterThanOrEqual(2)
  for (const rename of renames) {
    const fileSynced = calls.find(call => call.name === 'fsync' && call.path === rename.path)
    const recorded = calls.find(
      call => call.name === 'pwrite64' && call.path === catalog && call.data.includes(rename.target.slice(join(dataDir, 'archive/').length))
    )
    const committed = fsyncBehind(calls, catalog, recorded?.end ?? Number.POSITIVE_INFINITY)
    const folderSynced = fsyncBehind(calls, dirname(rename.target), rename.end)
    expect(fileSynced, `an fsync of ${rename.path}`).toBeDefined()
    expect(committed, `a commit that records ${rename.target}`).toBeDefined()
    expect(folderSynced, `an fsync of the folder of ${rename.target}`).toBeDefined()
    expect(fileSynced!.end).toBeLessThan(recorded!.begin)
    expect(committed!.end).toBeLessThan(rename.begin)
  }
}

describe('the agent', () => {
  test('commits before it publishes, and deletes only after PUBACK', async () => {
    const dir = tempDir()
    const port = await freePort()
    const notes = Array.from({ length: 24 }, (_, i) => `note-${i}-${'klmnopqrst'[i % 10].repeat(8)}`)
    writeFileSync(
      join(dir, 'notes.csv'),
      `time,note\n${notes.map((note, i) => `2026-01-01T00:00:${String(i).padStart(2, '0')}Z,${note}\n`).join('')}`
    )
    writeFileSync(join(dir, 'profile.yaml'), 'name: logbook\ninterval: 1s\nmetrics: [{ name: note, type: string, max: 64 }]\n')
    const config = {
      device_id: 'logbook-1',
      gateway: { url: `mqtt://127.0.0.1:${port}` },
      profile_file: 'profile.yaml',
      buffer: { path: 'buffer.sqlite' },
      source: { type: 'csv', path: 'notes.csv', time: { column: 'time' } },
      publish: { in_flight: 1, batch_readings: 8, backoff: { min: '20ms', max: '200ms' } }
    }
    writeFileSync(join(dir, 'agent.yaml'), JSON.stringify(config))
    const trace = join(dir, 'trace')
    const agent = run(CLI.agent, ['start', '--config', join(dir, 'agent.yaml'), '--once'], { under: straceTo(trace) })
    await until('all rows to be sampled', async () => {
      const { code, stdout } = await runToEnd(CLI.agent, ['status', '--config', join(dir, 'agent.yaml'), '--json'])
      return code === 0 && JSON.parse(stdout).sampled === notes.length
    })
    const gateway = await startGateway(join(dir, 'data'), { profiles: [join(dir, 'profile.yaml')] }, { mqttPort: port })
    expect(await agent.exit).toBe(0)
    expect(await gateway.stop()).toBe(0)
    const calls = readTrace(trace)
    const wal = join(dir, 'buffer.sqlite-wal')
    expectCommitBeforePublish(calls, wal, notes)
    expectDeleteAfterPuback(calls, wal)
  })
})

function expectCommitBeforePublish(calls: readonly SystemCall[], wal: string, notes: readonly string[]): void {
  const published = packetsOf(calls, 'out').filter(({ packet }) => packet.cmd === 'publish')
  for (const note of notes) {
    const publish = published.find(({ packet }) => (packet as IPublishPacket).payload.includes(note))
    const fsync = fsyncBehind(calls, wal, writeOf(calls, wal, note)?.end ?? Number.POSITIVE_INFINITY)
    expect(fsync, `a commit of ${note}`).toBeDefined()
    expect(publish, `a PUBLISH of ${note}`).toBeDefined()
    expect(fsync!.end, `${note}: commit before PUBLISH`).toBeLessThan(publish!.call.begin)
  }
}

/** One batch is in flight at a time: from its PUBLISH to its PUBACK nothing is written, so nothing is deleted. */
function expectDeleteAfterPuback(calls: readonly SystemCall[], wal: string): void {
  const publishes = packetsOf(calls, 'out').filter(({ packet }) => packet.cmd === 'publish' && packet.topic.endsWith('/batch'))
  const acks = packetsOf(calls, 'in').filter(({ packet }) => packet.cmd === 'puback')
  const writes = calls.filter(call => call.name === 'pwrite64' && call.path === wal)
  expect(publishes.length).toBeGreaterThanOrEqual(3)
  for (const { packet, call } of publishes) {
    const ack = acks.find(candidate => candidate.packet.messageId === packet.messageId && candidate.call.begin > call.end)!
    expect(writes.filter(write => write.begin > call.end && write.end < ack.call.begin)).toEqual([])
  }
  const firstAck = acks.find(({ call }) => call.begin > publishes[0].call.end)!
  expect(writes.filter(write => write.begin > firstAck.call.end).length).toBeGreaterThan(0)
}
