/** A disk that is full, read-only, or refuses: the agent samples on into memory, says so, recovers by itself, and declares what fell out. */
import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { WATER_LOOP } from '@tidemark/protocol'
import { afterEach, describe, expect, onTestFinished, test } from 'vitest'
import { Sqlite } from '../../agent/src/sqlite.js'
import { CLI, run, runToEnd } from '../kit/processes.js'
import { openBuffer, replayConfig, TestBroker, temporaryFolder, until } from './kit.js'

const mayMount = spawnSync('unshare', ['--mount', 'mount', '-t', 'tmpfs', 'tmpfs', '/mnt']).status === 0
const mayTrace = spawnSync('strace', ['-o', '/dev/null', 'true']).status === 0
if (!mayMount) process.stderr.write('SKIPPED: tests on a small file system need the right to mount one\n')
if (!mayTrace) process.stderr.write('SKIPPED: tests of a read-only file system under a running agent need strace\n')

const mounted: string[] = []
afterEach(() => {
  for (const path of mounted.splice(0)) spawnSync('umount', ['-l', path])
})

/** A file system of its own. */
async function smallDisk(size: string): Promise<string> {
  const path = join(await temporaryFolder(), 'disk')
  mkdirSync(path)
  execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${size}`, 'tmpfs', path])
  mounted.push(path)
  return path
}

/** Writes until not a byte is left. Returns what makes room again. */
function fillUp(disk: string): () => void {
  const path = join(disk, 'somebody-elses')
  for (const bytes of [64 * 1024, 4096]) {
    for (;;) {
      try {
        writeFileSync(path, Buffer.alloc(bytes), { flag: 'a' })
      } catch {
        break
      }
    }
  }
  return () => rmSync(path)
}

const LIVE = { profile: 'rotating-machine', source: { type: 'simulated' }, interval: '10ms' }

function startAgent(config: string) {
  return run(CLI.agent, ['start', '--config', config])
}

const problem = (broker: TestBroker) => {
  const status = broker.statuses.at(-1)
  return status?.state === 'online' ? (status.problem ?? null) : null
}

/** Every seq up to the highest that was told arrived or was declared; none arrived twice with another value. */
function expectAccounted(broker: TestBroker): { shed: number } {
  const seen = new Set(broker.seqs)
  const tombstones = broker.batches.flatMap(({ batch }) => batch.tombstones)
  const highest = Math.max(...broker.batches.map(({ batch }) => batch.header.highestSampledSeq))
  let shed = 0
  for (let seq = 1; seq <= highest; seq++) {
    if (seen.has(seq)) continue
    expect(
      tombstones.some(t => t.firstSeq <= seq && seq <= t.lastSeq),
      `seq ${seq}`
    ).toBe(true)
    shed++
  }
  return { shed }
}

describe.skipIf(!mayMount)('a full disk', () => {
  test.each(['strict', 'spill'])(
    'under an agent with durability %s',
    async durability => {
      const disk = await smallDisk('4m')
      const broker = await TestBroker.start()
      const buffer = { path: join(disk, 'b.sqlite'), durability, commit_interval: '100ms', ring_bytes: '64KiB', min_free: 0 }
      const config = await replayConfig(await temporaryFolder(), 0, broker.url, { ...LIVE, buffer })
      const agent = startAgent(config)
      await until(() => broker.seqs.length > 10)
      broker.judge = () => 'hold' // so that what is sampled must be stored
      const makeRoom = fillUp(disk)
      const said = (msg: string) => agent.logLines().some(line => line.msg === msg)
      await until(() => said('cannot write the buffer: sampling into memory'))
      if (durability === 'strict') await until(() => said('memory is full: the oldest readings are declared as shed (dropped-oldest)'))
      expect(agent.child.exitCode).toBeNull()
      broker.judge = () => 'ack'
      makeRoom()
      broker.release()
      await until(() => broker.statuses.some(status => status.state === 'online' && /the disk is full/.test(status.problem ?? '')))
      await until(() => problem(broker) === null && said('the buffer is written again'))
      const seqs = broker.seqs.length
      await until(() => broker.seqs.length > seqs + 20)
      agent.child.kill('SIGTERM')
      expect(await agent.exit).toBe(0)
      const { shed } = expectAccounted(broker)
      if (durability === 'strict') expect(shed).toBeGreaterThan(0)
      const reasons = new Set(broker.batches.flatMap(({ batch }) => batch.tombstones.map(({ reason }) => reason)))
      expect([...reasons].every(reason => reason === 'dropped-oldest')).toBe(true)
    },
    60_000
  )

  test('is no reason to end while pages that fell free are given back', async () => {
    const disk = await smallDisk('1m')
    const buffer = openBuffer(join(disk, 'b.sqlite'), { isLive: true })
    for (let seq = 1; seq <= 200; seq++) {
      const entries = [{ eventTimeMs: seq, values: [seq, seq] }]
      buffer.append({ profile: WATER_LOOP, entries, source: null, nulledValues: 0, eventTimeMs: seq })
    }
    buffer.settle(200, 200, [])
    const makeRoom = fillUp(disk)
    buffer.limitGrowth(true)
    expect(buffer.diskFailure?.message).toMatch(/the disk is full/)
    makeRoom()
    await until(() => buffer.keepUp(0))
    buffer.close()
  })

  test('that is full when an agent starts which must declare what a crash cost is told in one line, with exit code 2', async () => {
    const disk = await smallDisk('4m')
    const broker = await TestBroker.start()
    const buffer = { path: join(disk, 'b.sqlite'), durability: 'spill', commit_interval: '100ms', min_free: 0 }
    const config = await replayConfig(await temporaryFolder(), 0, broker.url, { ...LIVE, buffer })
    const agent = startAgent(config)
    await until(() => broker.seqs.length > 10)
    broker.judge = () => 'hold' // so that what is sampled must be stored
    const makeRoom = fillUp(disk)
    await until(() => agent.logLines().some(line => line.msg === 'cannot write the buffer: sampling into memory'))
    agent.child.kill('SIGKILL')
    await agent.exit
    fillUp(disk)
    const { code, stderr } = await runToEnd(CLI.agent, ['start', '--config', config])
    expect(code).toBe(2)
    expect(stderr).toMatch(/the disk is full: free some space/)
    expect(stderr.trim().split('\n')).toHaveLength(1)
    makeRoom()
  })

  test('that is read-only when the agent starts is told in one line, with exit code 2', async () => {
    const disk = await smallDisk('4m')
    execFileSync('mount', ['-o', 'remount,ro', disk])
    const config = await replayConfig(await temporaryFolder(), 10, 'mqtt://127.0.0.1:1', { buffer: { path: join(disk, 'b.sqlite') } })
    const { code, stderr } = await runToEnd(CLI.agent, ['start', '--config', config])
    expect(code).toBe(2)
    expect(stderr).toMatch(/its folder must exist and be writable/)
    expect(stderr.trim().split('\n')).toHaveLength(1)
  })
})

describe.skipIf(!mayTrace)('a file system that turns read-only under the agent', () => {
  test('does not stop it, and is written again when it can be', async () => {
    const broker = await TestBroker.start()
    const folder = await temporaryFolder()
    const config = await replayConfig(folder, 0, broker.url, LIVE)
    const agent = startAgent(config)
    await until(() => broker.seqs.length > 10)
    const calls = 'pwrite64,ftruncate,fallocate,fdatasync,fsync'
    const args = ['-f', '-p', String(agent.child.pid), '-o', '/dev/null', '-e', `trace=${calls}`, '-e', `inject=${calls}:error=EROFS`]
    const tracer = spawn('strace', args, { stdio: 'ignore' })
    onTestFinished(() => {
      tracer.kill('SIGKILL')
    })
    await until(() => problem(broker) !== null)
    tracer.kill('SIGINT') // it lets go of the agent
    await until(() => problem(broker) === null)
    const seqs = broker.seqs.length
    await until(() => broker.seqs.length > seqs + 20)
    agent.child.kill('SIGTERM')
    expect(await agent.exit).toBe(0)
    expectAccounted(broker)
    const database = new Sqlite(join(folder, 'buffer.sqlite'), { readonly: true })
    expect(database.pragma('integrity_check', { simple: true })).toBe('ok')
    database.close()
  }, 60_000)
})
