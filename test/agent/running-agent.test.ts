import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, writeFileSync } from 'node:fs'
import { stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, onTestFinished, test } from 'vitest'
import { stringify } from 'yaml'
import { liveLines, liveSocketPath } from '../../agent/src/live-socket.js'
import { TestBroker, temporaryFolder, until } from './kit.js'

const CLI = fileURLToPath(new URL('../../agent/dist/cli.js', import.meta.url))

interface Started {
  readonly child: ChildProcess
  readonly ended: Promise<{ code: number | null; stdout: string; stderr: string }>
  readonly stdout: () => string
  /** JSON lines on stdout. */
  readonly lines: () => Record<string, unknown>[]
}

function start(args: readonly string[], env: NodeJS.ProcessEnv = {}): Started {
  const child = spawn(process.execPath, [CLI, ...args], { env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] })
  onTestFinished(() => {
    child.kill('SIGKILL')
  })
  let [stdout, stderr] = ['', '']
  child.stdout.on('data', chunk => {
    stdout += chunk
  })
  child.stderr.on('data', chunk => {
    stderr += chunk
  })
  const ended = once(child, 'close').then(([code]) => ({ code, stdout, stderr }))
  const lines = () =>
    stdout
      .split('\n')
      .slice(0, -1)
      .map(line => JSON.parse(line))
  return { child, ended, stdout: () => stdout, lines }
}

const said = (agent: Started, text: string) => agent.stdout().includes(text)

async function write(folder: string, changes: object): Promise<string> {
  const config = {
    device_id: 'press-1',
    gateway: { url: 'mqtt://127.0.0.1:1' },
    profile: 'rotating-machine',
    buffer: { path: 'b.sqlite' },
    source: { type: 'simulated' },
    interval: '20ms',
    publish: { backoff: { min: '5ms', max: '50ms' } },
    ...changes
  }
  const path = join(folder, 'agent.yaml')
  await writeFile(path, stringify(config))
  return path
}

/** What of the broker's readings has arrived, once each, by seq. */
function readings(broker: TestBroker): { seq: number; eventTimeMs: number; clock: string; temperature: number }[] {
  const bySeq = new Map<number, { seq: number; eventTimeMs: number; clock: string; temperature: number }>()
  for (const { batch } of broker.batches)
    for (const [i, seq] of batch.header.seqs.entries())
      bySeq.set(seq, { seq, eventTimeMs: batch.eventTimesMs![i], clock: batch.clock, temperature: Number(batch.columns[0].values[i]) })
  return [...bySeq.values()].sort((a, b) => a.seq - b.seq)
}

describe('tail', () => {
  test('shows the readings of a running agent, as a table and as JSON lines, and ends with it', async () => {
    const path = await write(await temporaryFolder(), {})
    const agent = start(['start', '--config', path])
    await until(() => said(agent, 'sampling from'))
    const [table, json] = [start(['tail', '--config', path]), start(['tail', '--config', path, '--json'])]
    await until(() => table.stdout().split('\n').length > 25 && json.stdout().split('\n').length > 3)
    agent.child.kill('SIGTERM')
    expect((await agent.ended).code).toBe(0)
    expect(await table.ended).toMatchObject({ code: 0, stderr: '' })
    expect(await json.ended).toMatchObject({ code: 0, stderr: '' })
    const rows = table.stdout().split('\n')
    expect(rows[0]).toMatch(/^ {24} {2}temperature {2}vibration {2}pressure {2}/)
    expect(rows[1]).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z {2} +\d+(\.\d+)? /)
    expect(rows.filter(row => row === rows[0]).length).toBeGreaterThan(1)
    expect(json.lines()[0]).toEqual({
      event_time: expect.any(String),
      metrics: expect.objectContaining({ temperature: expect.any(Number) })
    })
  })

  test('says so where no agent runs', async () => {
    const path = await write(await temporaryFolder(), {})
    expect(await start(['tail', '--config', path]).ended).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/no agent runs on the buffer/)
    })
  })

  test('works below a very long path, and nobody else may listen', async () => {
    const folder = join(await temporaryFolder(), 'x'.repeat(120))
    spawnSync('mkdir', [folder])
    const path = await write(folder, {})
    const agent = start(['start', '--config', path])
    await until(() => said(agent, 'sampling from'))
    const socket = liveSocketPath(join(folder, 'b.sqlite'))
    const types: string[] = []
    for await (const line of liveLines(socket)) if (types.push(line.type) === 2) break
    expect(types).toEqual(['report', 'reading'])
    expect((await stat(socket)).mode & 0o777).toBe(0o600)
    agent.child.kill('SIGTERM')
    await agent.ended
    expect(existsSync(socket)).toBe(false)
  })
})

test('status says how each source and the clock are doing', async () => {
  const broker = await TestBroker.start()
  const folder = await temporaryFolder()
  const path = await write(folder, {
    gateway: { url: broker.url },
    buffer: { path: 'buffer.sqlite', min_free: Number.MAX_SAFE_INTEGER },
    source: undefined,
    sources: [
      { type: 'simulated', metrics: ['temperature', 'vibration'] },
      { type: 'exec', command: ['/bin/sh', '-c', 'echo broken >&2; exit 1'], metrics: { pressure: {} } },
      { type: 'exec', command: ['/bin/sleep', '1000'], timeout: '50ms', metrics: { rpm: {} } }
    ],
    interval: '100ms'
  })
  const agent = start(['start', '--config', path])
  await until(() => readings(broker).length >= 5)
  const status = JSON.parse((await start(['status', '--config', path, '--json']).ended).stdout)
  expect(status.sources).toMatchObject([
    { source: 'simulated:1', state: 'ok', failures: 0, last_error: null },
    { source: 'exec:/bin/sh', state: 'failing', metrics: ['pressure'], last_error: '/bin/sh: it ended with exit code 1 (broken)' },
    { source: 'exec:/bin/sleep', state: 'failing', last_error: '/bin/sleep: it did not end in time, and was killed' }
  ])
  expect(status.sources[1].failures).toBeGreaterThan(0)
  expect(Date.parse(status.sources[1].since)).toBeLessThanOrEqual(Date.now())
  expect(status.clock).toMatchObject({ state: expect.stringMatching(/synced|estimated/), gateway_ahead_ms: null })
  await until(() => broker.statuses.some(seen => seen.state === 'online' && /less than min_free/.test(seen.problem ?? '')))
  const { stdout } = await start(['status', '--config', path]).ended
  expect(stdout).toMatch(/^disk +less than min_free is left on the disk: the buffer grows no more$/m)
  expect(stdout).toMatch(/^ {2}exec:\/bin\/sh failing since .*: \/bin\/sh: it ended with exit code 1 \(broken\)/m)
  agent.child.kill('SIGTERM')
  expect((await agent.ended).code).toBe(0)
  const stopped = JSON.parse((await start(['status', '--config', path, '--json']).ended).stdout)
  expect(stopped).toMatchObject({ running: false, sources: null, clock: null })
}, 60_000)

describe('SIGHUP', () => {
  test('takes up new sources, interval and log level without losing a reading', async () => {
    const broker = await TestBroker.start()
    const folder = await temporaryFolder()
    const path = await write(folder, { gateway: { url: broker.url } })
    const agent = start(['start', '--config', path])
    await until(() => readings(broker).length >= 5)
    for (const interval of ['10ms', '5ms']) {
      if (interval === '5ms')
        writeFileSync(path, 'sources: [') // and one that is no YAML
      else await write(folder, { gateway: { url: broker.url }, interval, log_level: 'debug' })
      agent.child.kill('SIGHUP')
      await until(() => said(agent, interval === '5ms' ? 'the old one goes on' : 'is taken up'))
      const { length } = readings(broker)
      await until(() => readings(broker).length >= length + 5)
    }
    agent.child.kill('SIGTERM')
    expect((await agent.ended).code).toBe(0)
    const { sampled } = JSON.parse((await start(['status', '--config', await write(folder, {}), '--json']).ended).stdout)
    expect(readings(broker).map(({ seq }) => seq)).toEqual(Array.from({ length: readings(broker).length }, (_, i) => i + 1))
    expect(readings(broker).length).toBe(sampled)
    expect(new Set(broker.statuses.map(({ session }) => session)).size).toBe(1) // the connection was left alone
    expect(agent.lines().find(({ msg }) => msg === 'the new configuration is refused: the old one goes on')).toMatchObject({
      error: expect.stringMatching(/is no valid YAML/)
    })
  })

  test('moves to another gateway while it samples', async () => {
    const [before, after] = [await TestBroker.start(), await TestBroker.start()]
    const folder = await temporaryFolder()
    const path = await write(folder, { gateway: { url: before.url } })
    const agent = start(['start', '--config', path])
    await until(() => readings(before).length >= 5)
    await write(folder, { gateway: { url: after.url } })
    agent.child.kill('SIGHUP')
    await until(() => readings(after).length >= 5)
    agent.child.kill('SIGTERM')
    expect((await agent.ended).code).toBe(0)
    const seqs = new Set([...readings(before), ...readings(after)].map(({ seq }) => seq))
    expect([...seqs].sort((a, b) => a - b)).toEqual(Array.from({ length: seqs.size }, (_, i) => i + 1))
    expect(before.statuses.at(-1)).toMatchObject({ state: 'offline' })
  })

  test.each([
    ['a device ID that changes', { device_id: 'press-2' }, /device_id cannot change while the agent runs: restart it/],
    ['a buffer that changes', { buffer: { path: 'c.sqlite' } }, /buffer cannot change while the agent runs/],
    ['sources that do not fit', { source: { type: 'system' } }, /gives no metric of profile rotating-machine/],
    ['a key that does not exist', { intervall: '1s' }, /there is no key intervall; did you mean "interval"/]
  ])('refuses %s, and goes on', async (_, changes, message) => {
    const broker = await TestBroker.start()
    const folder = await temporaryFolder()
    const path = await write(folder, { gateway: { url: broker.url } })
    const agent = start(['start', '--config', path])
    await until(() => readings(broker).length >= 2)
    await write(folder, { gateway: { url: broker.url }, ...changes })
    agent.child.kill('SIGHUP')
    await until(() => said(agent, 'the old one goes on'))
    const { length } = readings(broker)
    await until(() => readings(broker).length >= length + 3)
    expect(agent.lines().find(line => line.error !== undefined)).toMatchObject({ error: expect.stringMatching(message) })
    agent.child.kill('SIGTERM')
    expect((await agent.ended).code).toBe(0)
  })
})

const LIBFAKETIME = [
  '/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1',
  '/usr/lib/aarch64-linux-gnu/faketime/libfaketime.so.1',
  '/usr/lib/faketime/libfaketime.so.1'
].find(path => existsSync(path))
if (LIBFAKETIME === undefined)
  console.warn('SKIPPED: no process is booted in 1970, because libfaketime is missing: apt-get install faketime')

describe.runIf(LIBFAKETIME !== undefined)('a process that boots in 1970', () => {
  /** The wall clock of the agent, as a file that says how far it is from the true one. */
  async function clockFile(): Promise<{ env: NodeJS.ProcessEnv; set: (offsetS: number) => void }> {
    const file = join(await temporaryFolder(), 'clock')
    const set = (offsetS: number) => writeFileSync(file, `${offsetS < 0 ? '' : '+'}${offsetS}\n`)
    const env = { LD_PRELOAD: LIBFAKETIME, FAKETIME_TIMESTAMP_FILE: file, FAKETIME_NO_CACHE: '1', FAKETIME_DONT_FAKE_MONOTONIC: '1' }
    return { env, set }
  }

  const since1970S = Math.floor(Date.now() / 1000) - 120

  test('and is set right later delivers the true event times of all its readings', async () => {
    const broker = await TestBroker.start()
    const folder = await temporaryFolder()
    const path = await write(folder, { gateway: { url: broker.url } })
    const clock = await clockFile()
    clock.set(-since1970S)
    const beganMs = Date.now()
    const agent = start(['start', '--config', path], clock.env)
    await until(() => said(agent, 'the clock is not set: readings are held until it is'))
    const watching = start(['tail', '--config', path, '--json'])
    const taken: number[] = []
    await until(() => {
      while (taken.length < watching.lines().length) taken.push(Date.now())
      return taken.length >= 40
    })
    expect(watching.lines().every(({ event_time }) => event_time === null)).toBe(true)
    expect(readings(broker)).toEqual([])
    const status = JSON.parse((await start(['status', '--config', path, '--json']).ended).stdout)
    expect(status.clock).toMatchObject({ state: 'held', because: 'not-set' })
    expect(status.buffered).toBeGreaterThanOrEqual(40)
    clock.set(0)
    const setMs = Date.now()
    await until(() => readings(broker).some(({ eventTimeMs }) => eventTimeMs > setMs + 200))
    agent.child.kill('SIGTERM')
    expect((await agent.ended).code).toBe(0)
    const arrived = readings(broker)
    expect(arrived.map(({ seq }) => seq)).toEqual(arrived.map((_, i) => i + 1))
    const times = arrived.map(({ eventTimeMs }) => eventTimeMs)
    expect(times).toEqual([...times].sort((a, b) => a - b))
    expect(times[0]).toBeGreaterThanOrEqual(beganMs - 1)
    // the readings that were watched while the clock showed 1970 have the times at which they were watched, but for the way there
    for (const [i, watchedMs] of taken.entries()) {
      const later = times.filter(time => time <= watchedMs + 50).length
      expect(later).toBeGreaterThanOrEqual(i + 1)
    }
    expect(agent.lines().some(({ msg }) => msg === 'the clock is set: held readings are rebased')).toBe(true)
  })

  test('and is killed before it is set loses none of them', async () => {
    const broker = await TestBroker.start()
    const folder = await temporaryFolder()
    const path = await write(folder, { gateway: { url: broker.url } })
    const clock = await clockFile()
    clock.set(-since1970S)
    const beganMs = Date.now()
    const first = start(['start', '--config', path], { ...clock.env, TIDEMARK_CRASH_AT: 'commit:20' })
    await first.ended
    const killedMs = Date.now()
    const second = start(['start', '--config', path], clock.env)
    await until(() => said(second, 'sampling'))
    clock.set(0)
    await until(() => readings(broker).length > 30)
    second.child.kill('SIGTERM')
    await second.ended
    const arrived = readings(broker)
    expect(arrived.map(({ seq }) => seq)).toEqual(arrived.map((_, i) => i + 1))
    for (const { eventTimeMs } of arrived.slice(0, 20)) {
      expect(eventTimeMs).toBeGreaterThanOrEqual(beganMs - 1)
      expect(eventTimeMs).toBeLessThanOrEqual(killedMs + 50)
    }
  })

  test('goes by the time of a real gateway until its own clock is set', async () => {
    const { startGateway } = await import('../kit/processes.js')
    const folder = await temporaryFolder()
    const gateway = await startGateway(join(folder, 'data'))
    const path = await write(folder, { gateway: { url: gateway.mqttUrl } })
    const clock = await clockFile()
    clock.set(-since1970S)
    const agent = start(['start', '--config', path], clock.env)
    await until(() => said(agent, 'the clock is set: held readings are rebased') || said(agent, 'event times are estimates'))
    const status = JSON.parse((await start(['status', '--config', path, '--json']).ended).stdout)
    expect(status.clock).toMatchObject({ state: 'estimated', because: 'gateway-time' })
    expect(Math.abs(status.clock.gateway_ahead_ms - since1970S * 1000)).toBeLessThan(5000)
    clock.set(0)
    await until(() => said(agent, 'event times come from a synced clock'))
    agent.child.kill('SIGTERM')
    expect((await agent.ended).code).toBe(0)
  })
})
