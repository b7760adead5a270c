import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { Sqlite } from '../../agent/src/sqlite.js'
import { readStatus } from '../../agent/src/status.js'
import { openBuffer, replayConfig, TestBroker, temporaryFolder, until } from './kit.js'

const CLI = fileURLToPath(new URL('../../agent/dist/cli.js', import.meta.url))
const range = (first: number, last: number) => Array.from({ length: last - first + 1 }, (_, i) => first + i)

interface Ended {
  readonly code: number | null
  readonly signal: string | null
  readonly stdout: string
  readonly stderr: string
}

function start(args: readonly string[], env: NodeJS.ProcessEnv = {}): { child: ChildProcess; ended: Promise<Ended>; output: () => string } {
  const child = spawn(process.execPath, [CLI, ...args], { env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] })
  return watch(child)
}

function watch(child: ChildProcess) {
  let [stdout, stderr] = ['', '']
  child.stdout?.on('data', chunk => {
    stdout += chunk
  })
  child.stderr?.on('data', chunk => {
    stderr += chunk
  })
  const ended = once(child, 'close').then(([code, signal]) => ({ code, signal, stdout, stderr }))
  return { child, ended, output: () => stdout + stderr }
}

const run = (args: readonly string[], env: NodeJS.ProcessEnv = {}) => start(args, env).ended

describe('an agent that is killed', () => {
  const points = ['commit', 'publish', 'puback', 'delete'] as const

  test.each(points.flatMap(point => [1, 4].map(k => [point, k] as const)))(
    'after its %s number %i goes on where it was: each row arrives, under one event ID',
    async (point, k) => {
      const broker = await TestBroker.start()
      const path = await replayConfig(await temporaryFolder(), 3000, broker.url)
      const killed = await run(['start', '--config', path, '--once'], { TIDEMARK_CRASH_AT: `${point}:${k}` })
      expect(killed.signal).toBe('SIGKILL')
      expect(await run(['start', '--config', path, '--once'])).toMatchObject({ code: 0 })
      expect([...new Set(broker.seqs)].sort((a, b) => a - b)).toEqual(range(1, 3000))
      expect(new Set(broker.batches.map(({ batch }) => batch.header.epoch)).size).toBe(1)
      // A seq stands for the same row whenever it is sent: none was given twice.
      for (const { batch } of broker.batches) {
        expect([...(batch.columns[0]?.values ?? [])]).toEqual([...batch.header.seqs].map(seq => seq / 1e4))
      }
      expect(broker.batches.at(-1)!.batch.endOfStreamSeq).toBe(3000)
    }
  )

  test('over and over finishes the recording all the same', async () => {
    const broker = await TestBroker.start()
    const path = await replayConfig(await temporaryFolder(), 3000, broker.url, { publish: { batch_readings: 10, in_flight: 4 } })
    for (const crash of ['commit:2', 'publish:3', 'puback:4', 'delete:1', 'publish:9', 'puback:1']) {
      expect((await run(['start', '--config', path, '--once'], { TIDEMARK_CRASH_AT: crash })).signal).toBe('SIGKILL')
    }
    expect((await run(['start', '--config', path, '--once'])).code).toBe(0)
    expect([...new Set(broker.seqs)].sort((a, b) => a - b)).toEqual(range(1, 3000))
  })

  test('leaves no stale lock, and nothing that was acked is sent again once it is deleted', async () => {
    const broker = await TestBroker.start()
    const path = await replayConfig(await temporaryFolder(), 500, broker.url)
    await run(['start', '--config', path, '--once'], { TIDEMARK_CRASH_AT: 'delete:2' })
    const settled = readStatus(join(path, '..', 'buffer.sqlite'), 0).settled
    expect(settled).toBeGreaterThan(0)
    const before = broker.batches.length
    expect((await run(['start', '--config', path, '--once'])).code).toBe(0)
    expect(Math.min(...broker.batches.slice(before).flatMap(({ batch }) => [...batch.header.seqs]))).toBe(settled + 1)
  })
})

describe('start', () => {
  test('stops cleanly at SIGTERM, keeps what is not acked, and says goodbye', async () => {
    const broker = await TestBroker.start()
    const path = await replayConfig(await temporaryFolder(), 100, broker.url)
    const { child, ended } = start(['start', '--config', path])
    await until(() => broker.seqs.length === 100)
    child.kill('SIGTERM')
    expect(await ended).toMatchObject({ code: 0, stderr: '' })
    expect(broker.statuses.map(status => status.state)).toEqual(['online', 'offline'])
  })

  test('ends at once at the second Ctrl-C', async () => {
    const broker = await TestBroker.start()
    broker.judge = () => 'hold'
    const path = await replayConfig(await temporaryFolder(), 100, broker.url)
    const { child, ended, output } = start(['start', '--config', path])
    await until(() => broker.seqs.length === 100)
    child.kill('SIGINT')
    await until(() => output().includes('"stopping"'))
    child.kill('SIGINT')
    expect(await ended).toMatchObject({ code: 130 })
  })

  test('never logs the password of the gateway', async () => {
    const broker = await TestBroker.start()
    const url = broker.url.replace('mqtt://', 'mqtt://operator:open-sesame@')
    const path = await replayConfig(await temporaryFolder(), 10, url, { log_level: 'trace' })
    const { code, stdout, stderr } = await run(['start', '--config', path, '--once'])
    expect(code).toBe(0)
    expect(stdout).toContain(broker.url)
    expect(stdout + stderr).not.toMatch(/open-sesame|operator/)
  })

  test('keeps trying where no gateway listens, and tells why', async () => {
    const broker = await TestBroker.start()
    const { url } = broker
    await broker.stop()
    const folder = await temporaryFolder()
    const path = await replayConfig(folder, 10, url)
    const { child, ended, output } = start(['start', '--config', path, '--once'])
    await until(() => output().split('nothing listens at').length > 3)
    const status = JSON.parse((await run(['status', '--config', path, '--json'])).stdout)
    expect(status).toMatchObject({
      running: true,
      sampled: 10,
      buffered: 10,
      last_error: expect.stringMatching(/nothing listens at mqtt:.*start the gateway/)
    })
    await broker.restart()
    expect(await ended).toMatchObject({ code: 0 })
    expect(child.exitCode).toBe(0)
    expect(broker.seqs).toEqual(range(1, 10))
  })

  test.runIf(existsSync('/bin/sh') && process.platform === 'linux')(
    'keeps trying while the disk takes no more, and loses nothing',
    async () => {
      const broker = await TestBroker.start()
      await broker.stop()
      const folder = await temporaryFolder()
      const path = await replayConfig(folder, 20_000, broker.url)
      // A limit on the size of files stands in for a full disk.
      const command = `ulimit -f 1000; exec "${process.execPath}" "${CLI}" start --config "${path}"`
      const { child, ended, output } = watch(spawn('/bin/sh', ['-c', command], { stdio: ['ignore', 'pipe', 'pipe'] }))
      await until(() => output().includes('cannot store readings: trying again'))
      const before = readStatus(join(folder, 'buffer.sqlite'), 0)
      expect(before.buffered).toBeGreaterThan(1000)
      expect(before.sampled).toBe(before.buffered)
      child.kill('SIGTERM')
      expect((await ended).code).toBe(0)
      await broker.restart()
      expect((await run(['start', '--config', path, '--once'])).code).toBe(0)
      expect(broker.seqs).toEqual(range(1, 20_000))
    }
  )
})

describe('what stops a running agent', () => {
  test('gets one line and exit code 1, and what was committed is there', async () => {
    const broker = await TestBroker.start()
    const folder = await temporaryFolder()
    const path = await replayConfig(folder, 2000, broker.url)
    const file = join(folder, 'buffer.sqlite')
    openBuffer(file).close()
    const raw = new Sqlite(file)
    raw.exec("CREATE TRIGGER refuse BEFORE INSERT ON chunks WHEN new.first_position > 1000 BEGIN SELECT RAISE(ABORT, 'no more'); END")
    raw.close()
    const { code, stderr } = await run(['start', '--config', path, '--once'])
    expect(code).toBe(1)
    expect(stderr).toMatch(/^tidemark-agent: cannot write .*buffer\.sqlite: check its owner and the disk \(SQLITE_CONSTRAINT_TRIGGER\)\n$/)
    expect(readStatus(file, 0)).toMatchObject({ sampled: 1000, source_position: { row: 1000 } })
  })
})

describe('what a person must correct gets one clear line and exit code 2', () => {
  async function lineOf(changes: object): Promise<string> {
    const path = await replayConfig(await temporaryFolder(), 1, 'mqtt://127.0.0.1:1', changes)
    const { code, stdout, stderr } = await run(['start', '--config', path])
    expect(code).toBe(2)
    expect(stdout).toBe('')
    expect(stderr.trimEnd().split('\n')).toHaveLength(1)
    return stderr
  }

  test('a key that does not exist', async () => {
    expect(await lineOf({ devcie_id: 'x' })).toMatch(/there is no key devcie_id; did you mean "device_id"\?/)
  })

  test('a buffer in a folder that does not exist', async () => {
    expect(await lineOf({ buffer: { path: 'none/b.sqlite' } })).toMatch(
      /cannot create .*b\.sqlite\.lock: its folder must exist and be writable/
    )
  })

  test('a recording that does not exist', async () => {
    expect(await lineOf({ source: { type: 'csv', path: 'none.csv', time: { column: 't' } } })).toMatch(
      /source\.path: there is no file .*none\.csv/
    )
  })

  test('a configuration that does not exist', async () => {
    const { code, stderr } = await run(['start', '--config', '/nowhere/agent.yaml'])
    expect([code, stderr]).toEqual([2, 'tidemark-agent: there is no configuration file /nowhere/agent.yaml\n'])
  })

  test('a buffer that another agent uses', async () => {
    const broker = await TestBroker.start()
    const path = await replayConfig(await temporaryFolder(), 1, broker.url)
    const first = start(['start', '--config', path])
    await until(() => broker.seqs.length === 1)
    const { code, stderr } = await run(['start', '--config', path])
    expect(code).toBe(2)
    expect(stderr).toMatch(/^tidemark-agent: another agent is running on the buffer .*\n$/)
    first.child.kill('SIGTERM')
    expect((await first.ended).code).toBe(0)
  })

  test('an option that does not exist', async () => {
    expect((await run(['start', '--confg', 'x'])).code).toBe(2)
  })
})

describe('status', () => {
  test('tells people and scripts what is buffered and acked', async () => {
    const broker = await TestBroker.start()
    const folder = await temporaryFolder()
    const path = await replayConfig(folder, 100, broker.url)
    await writeFile(
      join(folder, 'recording.csv'),
      `${await readFile(join(folder, 'recording.csv'), 'utf8')}never;1;2\n2020-03-10 00:00:00;broken;2\n`
    )
    await run(['start', '--config', path, '--once'])
    const { code, stdout } = await run(['status', '--config', path, '--json'])
    expect(code).toBe(0)
    expect(JSON.parse(stdout)).toMatchObject({
      device: 'pump-7',
      running: false,
      sampled: 102,
      settled: 102,
      buffered: 0,
      oldest_age_s: null,
      source: `csv:${join(folder, 'recording.csv')}`,
      source_position: { row: 102 },
      source_ended: true,
      unreadable_rows: 1,
      unreadable_values: 1,
      last_error: null
    })
    const lines = (await run(['status', '--config', path])).stdout
    expect(lines).toMatch(/^device {8}pump-7 \(stopped\)$/m)
    expect(lines).toMatch(/^sampled {7}102$/m)
    expect(lines).toMatch(/^unreadable {4}1 rows, 1 values$/m)
    expect(broker.batches.flatMap(({ batch }) => batch.tombstones)).toContainEqual({
      firstSeq: 101,
      lastSeq: 101,
      keepEvery: 0,
      reason: 'unreadable'
    })
  })

  test('before the first start says that there is nothing yet', async () => {
    const path = await replayConfig(await temporaryFolder(), 1, 'mqtt://127.0.0.1:1')
    expect(await run(['status', '--config', path])).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/there is no buffer .* yet: start the agent first/)
    })
  })
})

describe('help', () => {
  test('of each command has an example', async () => {
    const overview = await run(['--help'])
    const commands = [...overview.stdout.matchAll(/^ {2}(\w+) \[options\]/gm)].map(([, name]) => name)
    expect(commands).toContain('doctor')
    for (const command of commands) {
      const { code, stdout } = await run([command, '--help'])
      expect(code).toBe(0)
      expect(stdout).toMatch(new RegExp(`^ +\\$ (sudo )?tidemark-agent ${command}\\b`, 'm'))
    }
  })
})
