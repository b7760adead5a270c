/** What `install`, `uninstall` and `logs` do, as far as it can be seen without a systemd that runs; with one: test/load/agent-package.test.ts. */
import { spawnSync } from 'node:child_process'
import { chmodSync, chownSync, existsSync, mkdirSync, readFileSync, readlinkSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test, vi } from 'vitest'
import { stringify } from 'yaml'
import { grantConfig } from '../../agent/src/service/access.js'
import { Host } from '../../agent/src/service/host.js'
import { formatLine, lineOf } from '../../agent/src/service/logs.js'
import { markerOf, type UnitFacts, unitText } from '../../agent/src/service/unit.js'
import { CLI, runToEnd } from '../kit/processes.js'
import { temporaryFolder } from './kit.js'

const UNIT = 'etc/systemd/system/tidemark-agent.service'
const isRoot = process.getuid?.() === 0
const missing = ['systemd-analyze', 'systemctl', 'useradd'].filter(command => spawnSync(command, ['--version']).error !== undefined)
if (missing.length > 0) console.warn(`SKIPPED: the unit is not verified, there is no ${missing.join(' and no ')}`)
if (!isRoot) console.warn('SKIPPED: installing is not tested, only root can')

const FACTS: UnitFacts = {
  agentVersion: '0.1.0',
  node: process.execPath,
  entry: CLI.agent,
  config: '/etc/tidemark/agent.yaml',
  bufferPath: '/var/lib/tidemark/buffer.sqlite',
  user: 'daemon',
  group: 'daemon',
  groups: [],
  devices: 'none',
  needsHome: false,
  ringBytes: 4 * 2 ** 20
}

/** A folder that looks like a system, with a configuration whose buffer is where the service's is. */
async function system(changes: object = {}): Promise<{ root: string; config: string }> {
  const root = await temporaryFolder()
  for (const folder of ['etc/tidemark', 'etc/systemd/system', 'dev']) mkdirSync(join(root, folder), { recursive: true })
  for (const [file, text] of [
    ['passwd', 'root:x:0:0:root:/root:/bin/sh\npi:x:1000:1000::/home/pi:/bin/sh\n'],
    ['group', 'root:x:0:\ndialout:x:20:\ni2c:x:44:\npi:x:1000:\n'],
    ['shadow', ''],
    ['gshadow', '']
  ])
    writeFileSync(join(root, 'etc', file), text)
  const config = {
    device_id: 'pi-1',
    gateway: { url: 'mqtt://127.0.0.1:1' },
    profile: 'host',
    buffer: { path: '/var/lib/tidemark/buffer.sqlite' },
    source: { type: 'system' },
    ...changes
  }
  writeFileSync(join(root, 'etc/tidemark/agent.yaml'), stringify(config))
  return { root, config: '/etc/tidemark/agent.yaml' }
}

const POWER = { metrics: { power: { register: 1 } } }

describe.skipIf(missing.length > 0)('systemd takes the unit', () => {
  test.each([
    ['of a machine alone', FACTS],
    ['with serial lines', { ...FACTS, devices: 'serial', groups: ['dialout'], bufferPath: '/srv/tide mark/50 %/b.sqlite' }],
    ['with commands, in a home', { ...FACTS, devices: 'any', needsHome: true, config: '/home/pi/my "$HOME" 50%.yaml' }]
  ] as const)('%s, without a complaint', async (_, facts) => {
    const path = join(await temporaryFolder(), 'tidemark-agent.service')
    writeFileSync(path, unitText(facts))
    // without man pages here it cannot look for the documentation that is named
    const { status, stdout, stderr } = spawnSync('systemd-analyze', ['verify', '--man=no', '--recursive-errors=no', path], {
      encoding: 'utf8'
    })
    expect([status, stdout, stderr]).toEqual([0, '', ''])
  })

  test('and finds it well protected', async () => {
    const path = join(await temporaryFolder(), 'tidemark-agent.service')
    for (const [devices, exposureMax] of [
      ['none', 20],
      ['serial', 20],
      ['any', 25]
    ] as const) {
      writeFileSync(path, unitText({ ...FACTS, devices }))
      const { status, stdout, stderr } = spawnSync(
        'systemd-analyze',
        ['security', '--offline=yes', `--threshold=${exposureMax}`, '--no-pager', path],
        { encoding: 'utf8' }
      )
      expect([status, stderr], stdout.split('\n').at(-2)).toEqual([0, ''])
    }
  })
})

describe('the unit', () => {
  test('says what install must know the next time', () => {
    expect(markerOf(unitText(FACTS))).toEqual({ config: FACTS.config, bufferPath: FACTS.bufferPath, user: 'daemon' })
    expect(markerOf('[Service]\nExecStart=/bin/true\n')).toBeNull()
  })

  test('lets the service write its buffer and nothing else', () => {
    expect(unitText(FACTS)).toMatch(/^StateDirectory=tidemark$/m)
    expect(unitText(FACTS)).not.toContain('ReadWritePaths')
    const elsewhere = unitText({ ...FACTS, bufferPath: '/srv/data/b.sqlite' })
    expect(elsewhere).toMatch(/^ReadWritePaths=\/srv\/data$/m)
    expect(elsewhere).not.toContain('StateDirectory')
  })

  test('quotes paths, so that systemd takes each character as itself', () => {
    const config = '/home/pi/my "$HOME" 50%.yaml'
    const text = unitText({ ...FACTS, config, bufferPath: '/srv/50 %/b.sqlite' })
    expect(text).toContain(' start --config "/home/pi/my \\"$$HOME\\" 50%%.yaml"\n')
    expect(text).toContain('\nReadWritePaths="/srv/50 %%"\n')
    expect(markerOf(text)).toMatchObject({ config, bufferPath: '/srv/50 %/b.sqlite' })
  })

  test('leaves room for the ring of memory', () => {
    expect(unitText(FACTS)).toMatch(/^MemoryMax=256M$/m)
    expect(unitText({ ...FACTS, ringBytes: 64 * 2 ** 20 })).toMatch(/^MemoryMax=376M$/m)
  })
})

/** Where the other systems have them: a clone of this project may lie where no service runs from. */
const NODE = '/usr/bin/node'
const AGENT = '/usr/lib/node_modules/@tidemark/agent/dist/cli.js'
const INSTALL = ['install', '--node', NODE, '--agent', AGENT]

describe('install --dry-run', () => {
  test('prints the unit and changes nothing, whoever asks', async () => {
    const { root, config } = await system()
    const { code, stdout, stderr } = await runToEnd(CLI.agent, [...INSTALL, '--root', root, '--config', config, '--dry-run'])
    expect([code, stderr]).toEqual([0, ''])
    expect(stdout).toContain(`ExecStart=${NODE} ${AGENT} start --config /etc/tidemark/agent.yaml\n`)
    expect(existsSync(join(root, UNIT))).toBe(false)
  })

  test('gives what the sources need, where the system has it', async () => {
    const serial = { source: { type: 'modbus', serial: { path: '/dev/ttyUSB0' }, ...POWER } }
    const exec = { source: { type: 'exec', command: ['meter'], metrics: { power: {} } } }
    const unitOf = async (changes: object, ...args: string[]) => {
      const { root, config } = await system(changes)
      return runToEnd(CLI.agent, [...INSTALL, '--root', root, '--config', config, '--dry-run', ...args])
    }
    expect((await unitOf(serial)).stdout).toMatch(/^SupplementaryGroups=dialout$[\s\S]*^DeviceAllow=char-ttyUSB rw$/m)
    expect((await unitOf(exec, '--user', 'pi')).stdout).toMatch(
      /^User=pi\nGroup=pi\nSupplementaryGroups=dialout i2c$[\s\S]*^PrivateDevices=no$/m
    )
    expect((await unitOf({}, '--group', 'i2c')).stdout).toMatch(/^SupplementaryGroups=i2c$/m)
    expect(await unitOf({}, '--group', 'ic2')).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('--group: there is no group "ic2"')
    })
  })

  test.each([
    [{ devcie_id: 'x' }, [], /agent\.yaml: there is no key devcie_id; did you mean "device_id"\? \(line 9\)/],
    [{ buffer: { path: '/tmp/b.sqlite' } }, [], /buffer\.path: \/tmp\/b\.sqlite does not last, and a service does not see it/],
    [{}, ['--agent', 'dist/cli.js'], /--agent: dist\/cli\.js must be a path from the root on/],
    [{}, ['--node', '/tmp/node'], /--node: \/tmp\/node does not last, and a service does not see it/],
    [{}, ['--user', 'root'], /--user: the agent runs without the rights of root/],
    [{}, ['--user', 'a b'], /--user: "a b" is no name of a user/]
  ] as const)('refuses %j with %j', async (changes, args, complaint) => {
    const { root, config } = await system(changes)
    const { code, stdout, stderr } = await runToEnd(CLI.agent, [...INSTALL, '--root', root, '--config', config, '--dry-run', ...args])
    expect([code, stdout]).toEqual([2, ''])
    expect(stderr).toMatch(complaint)
  })

  test('refuses a configuration that is not there, and says how to get one', async () => {
    const { root } = await system()
    const { code, stderr } = await runToEnd(CLI.agent, [...INSTALL, '--root', root, '--config', '/etc/none.yaml', '--dry-run'])
    expect([code, stderr]).toEqual([
      2,
      expect.stringMatching(/there is no configuration file .*\/etc\/none\.yaml: write one with tidemark-agent init/)
    ])
  })
})

describe.skipIf(missing.length > 0 || !isRoot)('installed into another system', () => {
  test('the service is enabled there with a user of its own, again and again, until it is removed', async () => {
    const { root, config } = await system()
    const agent = (...args: string[]) => runToEnd(CLI.agent, [...args, '--root', root])
    const first = await agent(...INSTALL, '--config', config)
    expect([first.code, first.stderr]).toEqual([0, ''])
    expect(first.stdout).toMatch(/^user +tidemark \(new: [\s\S]*\(new\), enabled$[\s\S]*^state +starts with the system$/m)
    expect(readFileSync(join(root, 'etc/passwd'), 'utf8')).toMatch(
      /^tidemark:x:\d+:\d+:Tidemark agent:\/nonexistent:\/usr\/sbin\/nologin$/m
    )
    expect(readlinkSync(join(root, 'etc/systemd/system/multi-user.target.wants/tidemark-agent.service'))).toBe(`/${UNIT}`)
    expect(statSync(join(root, UNIT)).mode & 0o777).toBe(0o644)

    expect((await agent(...INSTALL)).stdout).toMatch(/^user +tidemark\n.*\(as it was\), enabled$/m)
    expect((await agent(...INSTALL, '--user', 'pi')).stdout).toMatch(/^user +pi\n.*\(updated\), enabled$/m)

    const buffer = join(root, 'var/lib/tidemark/buffer.sqlite')
    mkdirSync(join(root, 'var/lib/tidemark'), { recursive: true })
    for (const suffix of ['', '-wal', '.mark', '.lock-journal', '.damaged-1', '.mine']) writeFileSync(`${buffer}${suffix}`, '')
    expect((await agent('uninstall')).stdout).toMatch(
      /^kept +buffer .*\nkept +user pi, .*\nkept +configuration \/etc\/tidemark\/agent\.yaml$/m
    )
    expect(existsSync(join(root, UNIT))).toBe(false)
    expect(existsSync(join(root, 'etc/systemd/system/multi-user.target.wants/tidemark-agent.service'))).toBe(false)
    expect(existsSync(`${buffer}.mark`)).toBe(true)

    expect(await agent('uninstall')).toMatchObject({ code: 2, stderr: expect.stringContaining('nothing is installed') })
    await agent(...INSTALL, '--user', 'pi')
    expect((await agent('uninstall', '--purge')).stdout).not.toContain('removed   user')
    await agent(...INSTALL, '--user', 'tidemark')
    expect((await agent('uninstall', '--purge')).stdout).toMatch(/^removed +user tidemark$/m)
    expect(['', '-wal', '.mark', '.lock-journal', '.damaged-1', '.mine'].filter(suffix => existsSync(`${buffer}${suffix}`))).toEqual([
      '.mine'
    ])
    const users = readFileSync(join(root, 'etc/passwd'), 'utf8')
    expect(users).toMatch(/^pi:/m)
    expect(users).not.toMatch(/^tidemark:/m)
    expect(existsSync(join(root, config))).toBe(true)
  }, 60_000)

  test('its user may read all that the configuration names, and write where the buffer is', async () => {
    const { root } = await system({
      gateway: { url: 'mqtt://127.0.0.1:1', http: 'http://127.0.0.1:2', http_token_file: '/etc/tidemark/token' },
      profile: undefined,
      profile_file: './mine.yaml',
      buffer: { path: '/data/buffer.sqlite' },
      source: { type: 'simulated' }
    })
    const at = (path: string) => join(root, path)
    const profile = { name: 'mine', interval: '1s', metrics: [{ name: 'temperature', unit: 'degC', type: 'float' }] }
    writeFileSync(at('etc/tidemark/mine.yaml'), stringify(profile), { mode: 0o644 })
    writeFileSync(at('etc/tidemark/token'), 'secret', { mode: 0o600 })
    chmodSync(at('etc/tidemark/agent.yaml'), 0o600)
    expect(await runToEnd(CLI.agent, [...INSTALL, '--root', root])).toMatchObject({ code: 0, stderr: '' })
    const { uid, gid } = (await new Host(root).account('tidemark'))!
    const rights = (path: string) => [statSync(at(path)).gid, statSync(at(path)).mode & 0o777]
    expect(rights('etc/tidemark/agent.yaml')).toEqual([gid, 0o640])
    expect(rights('etc/tidemark/token')).toEqual([gid, 0o640])
    expect(rights('etc/tidemark/mine.yaml')).toEqual([0, 0o644]) // all may read it as it is
    expect(statSync(at('data')).uid).toBe(uid)

    chownSync(at('etc/tidemark/token'), 0, 20) // another service's, through its group
    const { code, stderr } = await runToEnd(CLI.agent, [...INSTALL, '--root', root])
    expect([code, stderr]).toEqual([2, expect.stringMatching(/tidemark may not read .*token: put a copy of it into \/etc\/tidemark/)])
    expect(rights('etc/tidemark/token')).toEqual([20, 0o640])
  }, 60_000)

  test('a unit that install did not write is nobody to remove', async () => {
    const { root } = await system()
    writeFileSync(join(root, UNIT), '[Service]\nExecStart=/bin/true\n')
    const { code, stderr } = await runToEnd(CLI.agent, ['uninstall', '--root', root])
    expect([code, stderr]).toEqual([2, expect.stringContaining('was not written by tidemark-agent install')])
    expect(existsSync(join(root, UNIT))).toBe(true)
  })
})

test.skipIf(!isRoot)('on this machine it is tried with the rights of the user, through every folder above', async () => {
  const nobody = { uid: 65_534, gid: 65_534 }
  const folder = await temporaryFolder()
  const [config, token] = [join(folder, 'agent.yaml'), join(folder, 'closed/token')]
  mkdirSync(join(folder, 'closed'), { mode: 0o700 })
  chmodSync(folder, 0o755)
  for (const path of [config, token]) writeFileSync(path, '', { mode: 0o600 })
  await grantConfig(new Host('/'), 'nobody', nobody, config, [])
  expect([statSync(config).gid, statSync(config).mode & 0o777]).toEqual([nobody.gid, 0o640])
  await expect(grantConfig(new Host('/'), 'nobody', nobody, config, [token])).rejects.toThrow(/nobody may not read .*closed\/token/)
  expect([process.geteuid?.(), process.getegid?.()]).toEqual([0, 0])
})

describe('install and uninstall refuse', () => {
  test('whoever is not root', () => {
    vi.spyOn(process, 'getuid').mockReturnValue(1000)
    expect(() => new Host('/').check('install')).toThrow('install changes the system: run it as root, with sudo')
    vi.restoreAllMocks()
  })

  test.skipIf(!isRoot || existsSync('/run/systemd/system'))('a machine without systemd', async () => {
    const { code, stderr } = await runToEnd(CLI.agent, ['install'])
    expect([code, stderr]).toEqual([2, expect.stringMatching(/systemd does not run here: .*tidemark-agent start --config FILE/)])
  })
})

describe('logs', () => {
  const entry = (message: unknown, more: object = {}) =>
    JSON.stringify({ MESSAGE: message, PRIORITY: '6', SYSLOG_IDENTIFIER: 'node', __REALTIME_TIMESTAMP: '1795615200123456', ...more })
  const shown = (text: string) => formatLine(lineOf(text)!)

  test('make the lines of the agent readable', () => {
    const line =
      '{"level":40,"time":1795615200001,"device":"pi-1","error":"disk full","sources":["w1"],"url":"mqtt://h:1883","msg":"cannot store readings: trying again"}'
    expect(shown(entry(line))).toBe(
      '2026-11-25T14:00:00.001Z  warn   cannot store readings: trying again  error="disk full"  sources=["w1"]  url=mqtt://h:1883'
    )
    expect(lineOf(entry(line))).toEqual(JSON.parse(line))
  })

  test('show also what systemd and Node say, in the same shape', () => {
    expect(shown(entry('Started Tidemark agent.', { SYSLOG_IDENTIFIER: 'systemd' }))).toBe(
      '2026-11-25T14:00:00.123Z  info   Started Tidemark agent.  by=systemd'
    )
    expect(shown(entry('{"not":"ours"}', { PRIORITY: '3' }))).toBe('2026-11-25T14:00:00.123Z  error  {"not":"ours"}')
    expect(lineOf(entry([79, 106, 101, 255]))).toEqual({ level: 30, time: 1795615200123, msg: 'Oje\ufffd' })
    expect(lineOf('')).toBeNull()
  })

  test('move nobody’s cursor', () => {
    expect(shown(entry('\u001b[2Jgone\u0007'))).toBe('2026-11-25T14:00:00.123Z  info   ?[2Jgone?')
  })

  test('say so where there is no journal', async () => {
    const { code, stderr } = await runToEnd(CLI.agent, ['logs'], { env: { PATH: await temporaryFolder() } })
    expect([code, stderr]).toEqual([2, expect.stringContaining('there is no journal here, since there is no journalctl')])
    expect(await runToEnd(CLI.agent, ['logs', '--lines', 'x'])).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('--lines: write a number, or all')
    })
  })
})
