/** The agent's tarball: it installs by itself, holds nothing of the gateway, delivers, and becomes a service. */
import { execFileSync } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { afterAll, expect, test } from 'vitest'
import { installAgent } from '../../load/src/agent-package/install.js'
import { bootMachine, copyInto, type Machine } from '../kit/booted-machine.js'
import { query, ROOT, run, runToEnd, startGateway } from '../kit/processes.js'
import { tempDir } from '../kit/temp-dir.js'
import { until } from '../kit/until.js'

const installedIn = mkdtempSync(join(tmpdir(), 'tidemark-test-'))
const installed = installAgent(installedIn)
afterAll(() => rmSync(installedIn, { recursive: true, force: true }))

/** Those that are loaded late, too. */
function loadEveryPart(dist: string): void {
  const parts = readdirSync(dist).filter(name => name !== 'cli.js')
  expect(parts.length).toBeGreaterThan(10)
  const script = parts.map(name => `await import(${JSON.stringify(pathToFileURL(join(dist, name)).href)})`).join('\n')
  expect(execFileSync(process.execPath, ['--input-type=module', '--eval', script], { encoding: 'utf8' })).toBe('')
}

test('installed from its tarball alone, the agent delivers readings to the archive', async () => {
  const { cli, folder } = await installed
  expect(readdirSync(installedIn).filter(name => /^tidemark-agent-\d+\.\d+\.\d+\.tgz$/.test(name))).toHaveLength(1)
  expect(readdirSync(join(folder, '../..'))).toEqual(['@tidemark'])
  expect(readdirSync(join(folder, '..'))).toEqual(['agent'])
  const added = readdirSync(join(folder, 'node_modules')).filter(name => !name.startsWith('better-sqlite3'))
  expect(added).toEqual([])
  const { dependencies, optionalDependencies } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'))
  expect(dependencies).toBeUndefined()
  expect(Object.keys(optionalDependencies).sort()).toEqual(['better-sqlite3', 'better-sqlite3-node20', 'serialport'])
  for (const name of ['README.md', 'LICENSE', 'examples/machine.yaml']) expect(existsSync(join(folder, name)), name).toBe(true)
  const licences = readFileSync(join(folder, 'THIRD-PARTY-LICENSES'), 'utf8')
  for (const name of ['mqtt ', 'zod ', 'undici ', 'modbus-serial ']) expect(licences).toContain(`\n${name}`)

  expect((await runToEnd(cli, ['--help'])).stdout).toContain('Usage: tidemark-agent')
  loadEveryPart(join(folder, 'dist'))

  const dir = tempDir()
  const gateway = await startGateway(join(dir, 'data'))
  const config = join(dir, 'agent.yaml')
  writeFileSync(
    config,
    JSON.stringify({
      device_id: 'packed',
      gateway: { url: gateway.mqttUrl },
      profile: 'rotating-machine',
      buffer: { path: 'buffer.sqlite' },
      source: { type: 'simulated', readings: 20 },
      interval: '10ms'
    })
  )
  const agent = run(cli, ['start', '--once', '--config', config])
  expect([await agent.exit, agent.stderr()]).toEqual([0, ''])
  expect(await gateway.stop()).toBe(0)
  const rows = await query(gateway.dataDir, "SELECT count(*) AS n, max(seq) AS last FROM readings WHERE device_id = 'packed'")
  expect(rows.map(({ n, last }) => [Number(n), Number(last)])).toEqual([[20, 20]])
})

const UNIT = 'tidemark-agent.service'
const CONFIG = '/etc/tidemark/agent.yaml'

function show({ run }: Machine, ...names: string[]): Record<string, string> {
  const { stdout } = run('systemctl', 'show', UNIT, `--property=${names.join(',')}`)
  return Object.fromEntries(
    stdout
      .split('\n')
      .filter(Boolean)
      .map(line => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)])
  )
}

/** Under a systemd that runs as process 1. */
test('installed from its tarball, the agent runs as a service that survives what happens to it', async ({ skip }) => {
  const machine = await bootMachine()
  if (typeof machine === 'string') {
    console.warn(`SKIPPED: the service is not tested under systemd: ${machine}`)
    return skip()
  }
  const { folder } = await installed
  copyInto(machine, folder, '/opt/tidemark-agent')
  // what the better-sqlite3 for Node 20 needs, which here lies beside it
  for (const name of ['bindings', 'file-uri-to-path']) {
    const from = join(ROOT, 'node_modules', name)
    if (existsSync(from)) copyInto(machine, from, `/opt/tidemark-agent/node_modules/${name}`)
  }
  const gateway = await startGateway(join(tempDir(), 'data'))
  const agent = (...args: string[]) => machine.run(process.execPath, '/opt/tidemark-agent/dist/cli.js', ...args)
  const done = (...args: string[]) => {
    const { code, stdout, stderr } = agent(...args)
    expect([code, stderr], args.join(' ')).toEqual([0, ''])
    return stdout
  }
  const logged = (...args: string[]) => done('logs', '--lines', 'all', ...args)
  const archived = async () => {
    const [{ n }] = await query(gateway.dataDir, "SELECT count(*) AS n FROM readings WHERE device_id = 'pump-7'")
    return Number(n)
  }

  expect(agent('logs')).toMatchObject({ code: 2, stderr: expect.stringContaining('was it ever started? (tidemark-agent install)') })
  expect(agent('install')).toMatchObject({ code: 2, stderr: expect.stringContaining(`there is no configuration file ${CONFIG}`) })

  // init and install
  done(
    'init',
    '--device-id',
    'pump-7',
    '--gateway',
    gateway.mqttUrl.replace('127.0.0.1', 'localhost'),
    '--interval',
    '200ms',
    '--sources',
    'system'
  )
  expect(done('install')).toMatch(/^user +tidemark \(new: .*\n.*\(new\), enabled\n[\s\S]*^state +running$/m)
  const running = show(machine, 'ActiveState', 'UnitFileState', 'MainPID', 'MemoryMax', 'WatchdogUSec', 'StatusText')
  expect(running).toMatchObject({ ActiveState: 'active', UnitFileState: 'enabled', MemoryMax: String(256 * 2 ** 20), WatchdogUSec: '5min' })
  expect(running.StatusText).toMatch(/^\d+ sampled, \d+ buffered$/)
  const process1 = machine.run('cat', `/proc/${running.MainPID}/status`).stdout
  for (const line of ['NoNewPrivs:\t1', 'CapEff:\t0000000000000000', 'CapBnd:\t0000000000000000', 'Seccomp:\t2'])
    expect(process1).toContain(line)
  const uid = machine.run('id', '-u', 'tidemark').stdout.trim()
  expect(uid).not.toBe('0')
  expect(process1).toContain(`Uid:\t${uid}\t${uid}`)
  expect(machine.run('stat', '-c', '%U %G %a', CONFIG, '/var/lib/tidemark').stdout).toBe('root tidemark 640\ntidemark tidemark 750\n')
  await until('readings in the archive', async () => (await archived()) > 0)
  expect(done('status', '--config', CONFIG)).toMatch(/^device +pump-7 \(running\)$/m)

  // another configuration, without a restart
  const config = join(machine.root, CONFIG)
  writeFileSync(config, readFileSync(config, 'utf8').replace('interval: 200ms', 'interval: 100ms'))
  expect(machine.run('systemctl', 'reload', UNIT).code).toBe(0)
  await until('the reload', () => logged().includes('reading the configuration again'))
  await until('the service to be ready again', () => show(machine, 'ActiveState').ActiveState === 'active')
  expect(show(machine, 'MainPID').MainPID).toBe(running.MainPID)

  // a second install changes nothing but the process, and keeps to what it was told the first time
  expect(done('install')).toMatch(/^user +tidemark\n.*\(as it was\), enabled$/m)
  expect(show(machine, 'MainPID').MainPID).not.toBe(running.MainPID)

  // a hanging agent is killed by the watchdog, and another one goes on
  machine.run('mkdir', '-p', `/run/systemd/system/${UNIT}.d`)
  writeFileSync(join(machine.root, `/run/systemd/system/${UNIT}.d/quick.conf`), '[Service]\nWatchdogSec=1s\nRestartSec=100ms\n')
  machine.run('systemctl', 'daemon-reload')
  machine.run('systemctl', 'restart', UNIT)
  const { MainPID: hanging } = show(machine, 'MainPID')
  machine.run('kill', '-STOP', hanging)
  await until('the watchdog', () => logged().includes('Watchdog timeout'))
  await until('another agent', () => {
    const { MainPID, ActiveState } = show(machine, 'MainPID', 'ActiveState')
    return MainPID !== hanging && ActiveState === 'active'
  })

  // what was logged, for people and for scripts
  expect(logged()).toMatch(/^\d{4}-\d\d-\d\dT[\d:.]+Z {2}info {3}\S.*$/m)
  expect(
    done('logs', '--lines', '3', '--json')
      .trim()
      .split('\n')
      .map(line => typeof JSON.parse(line).msg)
  ).toEqual(['string', 'string', 'string'])

  // a mistake in the configuration is told before anything is touched
  const { MainPID: before } = show(machine, 'MainPID')
  writeFileSync(config, `${readFileSync(config, 'utf8')}\nintervall: 1s\n`)
  expect(agent('install')).toMatchObject({
    code: 2,
    stderr: expect.stringMatching(/agent\.yaml.*there is no key intervall; did you mean "interval"\?/)
  })
  expect(show(machine, 'MainPID').MainPID).toBe(before)

  // away with it
  expect(done('uninstall')).toMatch(/^kept +buffer \/var\/lib\/tidemark\/buffer\.sqlite/m)
  expect(show(machine, 'LoadState').LoadState).toBe('not-found')
  expect(existsSync(join(machine.root, 'var/lib/tidemark/buffer.sqlite'))).toBe(true)
  writeFileSync(config, readFileSync(config, 'utf8').replace('\nintervall: 1s\n', ''))
  done('install')
  expect(done('uninstall', '--purge')).toMatch(/^removed +buffer .*$/m)
  expect(existsSync(join(machine.root, 'var/lib/tidemark'))).toBe(false)
  expect(machine.run('id', '-u', 'tidemark').code).toBe(1)

  // each event ID came once, over all restarts
  expect(await gateway.stop()).toBe(0)
  const [{ n, distinct }] = await query(
    gateway.dataDir,
    "SELECT count(*) AS n, count(DISTINCT (epoch, seq)) AS distinct FROM readings WHERE device_id = 'pump-7'"
  )
  expect(Number(n)).toBe(Number(distinct))
})
