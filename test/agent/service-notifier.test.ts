import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { pino } from 'pino'
import { describe, expect, onTestFinished, test } from 'vitest'
import { stringify } from 'yaml'
import { type Health, ServiceNotifier, statusLine } from '../../agent/src/service-notifier.js'
import { receiveDatagrams } from './datagrams.js'
import { silent, temporaryFolder, until } from './kit.js'

const CLI = fileURLToPath(new URL('../../agent/dist/cli.js', import.meta.url))

const missing = ['systemd-notify', 'python3'].filter(command => spawnSync(command, ['--version']).error !== undefined)
if (missing.length > 0) console.warn(`SKIPPED: notifying systemd is not tested, there is no ${missing.join(' and no ')}`)

const WELL: Health = { isHung: false, sampled: 12, buffered: 3, problem: null, failing: [], sources: 1 }

test('outside of systemd there is nobody to notify', () => {
  expect(ServiceNotifier.take({ WATCHDOG_USEC: '1000000' }, 1, silent)).toBeNull()
})

test('what systemd says is taken out of the environment, so that no command of the agent can speak for it', () => {
  const env = { PATH: '/bin', NOTIFY_SOCKET: '/run/x', WATCHDOG_USEC: '5', WATCHDOG_PID: '7' }
  expect(ServiceNotifier.take(env, 7, silent)).not.toBeNull()
  expect(env).toEqual({ PATH: '/bin' })
})

test('the status is one line that says what is wrong', () => {
  expect(statusLine(WELL)).toBe('12 sampled, 3 buffered')
  expect(statusLine({ ...WELL, sources: 3, failing: ['exec', 'w1'], problem: 'disk\nfull' })).toBe(
    '12 sampled, 3 buffered, 2 of 3 sources failing (exec, w1), disk full'
  )
  expect(statusLine({ ...WELL, isHung: true })).toMatch(/^sampling hangs/)
})

describe.skipIf(missing.length > 0)('systemd is told', () => {
  test('of readiness, a reload and the end, in this order, however fast they follow each other', async () => {
    const { path, received } = await receiveDatagrams()
    const notifier = ServiceNotifier.take({ NOTIFY_SOCKET: path }, 1, silent)!
    notifier.reloaded() // not ready yet: says nothing
    notifier.ready(() => WELL)
    notifier.reloading()
    notifier.reloaded()
    notifier.stopping()
    await notifier.done()
    await until(() => received().length === 4)
    expect(received()).toEqual([
      { READY: '1', STATUS: '12 sampled, 3 buffered' },
      { RELOADING: '1', MONOTONIC_USEC: expect.stringMatching(/^\d+$/) },
      { READY: '1', STATUS: '12 sampled, 3 buffered' },
      { STOPPING: '1', STATUS: 'stopping' }
    ])
  })

  test('that the watchdog need not bite, as long as the sampling loop is alive, and not any longer', async () => {
    const { path, received } = await receiveDatagrams()
    const pings = () => received().filter(message => message.WATCHDOG === '1').length
    const lines: string[] = []
    const log = pino({ base: null }, { write: line => lines.push(line) })
    const told = (text: string) => lines.filter(line => line.includes(text)).length
    let health = WELL
    const notifier = ServiceNotifier.take({ NOTIFY_SOCKET: path, WATCHDOG_USEC: '40000', WATCHDOG_PID: '7' }, 7, log)!
    onTestFinished(() => notifier.done())
    notifier.ready(() => health)
    await until(() => pings() >= 2)
    health = { ...WELL, isHung: true }
    await until(() => told('sampling hangs') >= 1)
    notifier.reloaded() // what is told behind it comes behind it, so nothing is under way when it arrives
    await until(() => received().at(-1)?.READY === '1')
    const before = pings()
    await until(() => told('sampling hangs') >= 5)
    expect(pings()).toBe(before)
    health = WELL
    await until(() => pings() > before)
    expect(told('sampling goes on again')).toBe(1)
  })

  test('nothing of a watchdog that watches another process', async () => {
    const { path, received } = await receiveDatagrams()
    const notifier = ServiceNotifier.take({ NOTIFY_SOCKET: path, WATCHDOG_USEC: '1000', WATCHDOG_PID: '8' }, 7, silent)!
    notifier.ready(() => WELL)
    for (let i = 0; i < 5; i++) notifier.reloaded()
    await notifier.done()
    await until(() => received().length === 6)
    expect(received().some(message => 'WATCHDOG' in message)).toBe(false)
  })

  test('by a real agent, through its life', async () => {
    const { path, received } = await receiveDatagrams()
    const folder = await temporaryFolder()
    const config = join(folder, 'agent.yaml')
    const leaked = join(folder, 'environment')
    await writeFile(
      config,
      stringify({
        device_id: 'press-1',
        gateway: { url: 'mqtt://127.0.0.1:1' },
        profile: 'host',
        buffer: { path: 'b.sqlite' },
        sources: [
          { type: 'system', metrics: ['memory_used', 'load_1m'] },
          { type: 'exec', command: ['/bin/sh', '-c', `env > ${leaked}; echo 5`], metrics: { cpu_used: {} } }
        ],
        interval: '100ms'
      })
    )
    const env = { ...process.env, NOTIFY_SOCKET: path, WATCHDOG_USEC: '200000' }
    const child = spawn(process.execPath, [CLI, 'start', '--config', config], { env, stdio: ['ignore', 'ignore', 'inherit'] })
    const closed = once(child, 'close')
    onTestFinished(() => {
      child.kill('SIGKILL')
    })
    const kinds = () => received().map(message => Object.keys(message)[0])
    await until(() => kinds().filter(kind => kind === 'WATCHDOG').length >= 2)
    expect(kinds()[0]).toBe('READY')
    await until(() => received().some(({ WATCHDOG, STATUS }) => WATCHDOG === '1' && /^[1-9]\d* sampled, [1-9]\d* buffered$/.test(STATUS)))
    expect(await readFile(leaked, 'utf8')).not.toMatch(/NOTIFY_SOCKET|WATCHDOG/)
    child.kill('SIGHUP')
    await until(
      () =>
        kinds()
          .slice(kinds().indexOf('RELOADING') + 1)
          .includes('READY') && kinds().includes('RELOADING')
    )
    child.kill('SIGTERM')
    expect((await closed)[0]).toBe(0)
    await until(() => kinds().includes('STOPPING'))
    expect(kinds().at(-1)).toBe('STOPPING')
  })
})
