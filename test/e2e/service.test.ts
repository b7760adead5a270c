/** The agent as a service, from its tarball to its removal, under a systemd that runs as process 1. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { installAgent } from '../../load/src/agent-package/install.js'
import { bootMachine, copyInto, type Machine } from '../kit/booted-machine.js'
import { query, ROOT, startGateway } from '../kit/processes.js'
import { tempDir } from '../kit/temp-dir.js'
import { until } from '../kit/until.js'

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

test('installed from its tarball, the agent runs as a service that survives what happens to it', async ({ skip }) => {
  const machine = await bootMachine()
  if (typeof machine === 'string') {
    console.warn(`SKIPPED: the service is not tested under systemd: ${machine}`)
    return skip()
  }
  const { folder } = await installAgent(tempDir())
  copyInto(machine, folder, '/opt/tidemark-agent')
  for (const name of ['bindings', 'file-uri-to-path'])
    copyInto(machine, join(ROOT, 'node_modules', name), `/opt/tidemark-agent/node_modules/${name}`)
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
  done('init', '--device-id', 'pump-7', '--gateway', gateway.mqttUrl, '--interval', '200ms', '--sources', 'system')
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
