/** `tidemark-agent init`: what it finds, what it writes, and that the agent runs with that. */
import { execFileSync } from 'node:child_process'
import { chmodSync, mkdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { type Profile, valueAt } from '@tidemark/protocol'
import { describe, expect, test } from 'vitest'
import { readConfig } from '../../agent/src/config.js'
import { diskOf } from '../../agent/src/init/disk.js'
import { findSensors } from '../../agent/src/init/sensors.js'
import { CLI, runToEnd } from '../kit/processes.js'
import { machine, TestBroker, temporaryFolder } from './kit.js'
import { hasTerminal, typeAt } from './terminal.js'

/** A Raspberry Pi with a BME280, two thermometers on a wire, one of them broken, and what its board measures. */
const PI = {
  'sys/bus/iio/devices/iio:device0/name': 'bme280\n',
  'sys/bus/iio/devices/iio:device0/in_temp_input': '23450\n',
  'sys/bus/iio/devices/iio:device0/in_humidityrelative_input': '41250\n',
  'sys/bus/iio/devices/iio:device0/in_pressure_input': '98.765429687\n',
  'sys/bus/iio/devices/iio:device0/in_temp_oversampling_ratio': '2\n',
  'sys/bus/w1/devices/w1_bus_master1/w1_master_slave_count': '2\n',
  'sys/bus/w1/devices/28-00000a1b2c3d/w1_slave': '50 05 4b 46 7f ff 0c 10 1c : crc=1c YES\n50 05 4b 46 7f ff 0c 10 1c t=85000\n',
  'sys/bus/w1/devices/28-00000a1b2c3e/w1_slave': '72 01 4b 46 7f ff 0e 10 57 : crc=57 YES\n72 01 4b 46 7f ff 0e 10 57 t=23125\n',
  'sys/class/hwmon/hwmon0/name': 'rp1_adc\n',
  'sys/class/hwmon/hwmon0/in1_input': '1475\n',
  'sys/class/hwmon/hwmon1/name': 'nct6775\n',
  'sys/class/hwmon/hwmon1/temp1_input': '48000\n',
  'sys/class/hwmon/hwmon1/temp1_label': 'SYSTIN #1\n',
  'sys/class/thermal/thermal_zone0/type': 'cpu-thermal\n',
  'sys/class/thermal/thermal_zone0/temp': '52345\n'
}

const init = (...args: string[]) => runToEnd(CLI.agent, ['init', ...args])

describe('init finds', () => {
  test('what the kernel shows, with its unit and its value, under names that a profile takes', async () => {
    const sensors = await findSensors(await machine(PI))
    expect(sensors.map(({ kind, metric, quantity, value }) => [kind, metric, quantity.unit, value])).toEqual([
      ['iio', 'bme280_humidityrelative', '%', 41.25],
      ['iio', 'bme280_pressure', 'kPa', 98.765429687],
      ['iio', 'bme280_temp', 'degC', 23.45],
      ['w1', 'w1_00000a1b2c3d_temperature', 'degC', null],
      ['w1', 'w1_00000a1b2c3e_temperature', 'degC', 23.125],
      ['hwmon', 'rp1_adc_in1', 'V', 1.475],
      ['hwmon', 'nct6775_systin_1_temp', 'degC', 48],
      ['thermal', 'cpu_thermal_temperature', 'degC', 52.345]
    ])
    expect(sensors[3].problem).toMatch(/85 degC is what the sensor shows before it has measured/)
    expect(sensors[6].mapping).toEqual({ chip: 'nct6775', input: 'temp1' })
  })

  test('two sensors of the same name, by their folders', async () => {
    const tree = Object.fromEntries(
      [0, 1].flatMap(n => [
        [`sys/bus/iio/devices/iio:device${n}/name`, 'bme280\n'],
        [`sys/bus/iio/devices/iio:device${n}/in_temp_input`, `${20 + n}000\n`]
      ])
    )
    const sensors = await findSensors(await machine(tree))
    expect(sensors.map(({ metric, mapping, value }) => [metric, mapping.device, value])).toEqual([
      ['bme280_temp', 'iio:device0', 20],
      ['bme280_temp_2', 'iio:device1', 21]
    ])
  })

  test('nothing on a machine that has nothing', async () => {
    expect(await findSensors(await machine({}))).toEqual([])
  })
})

describe('what init writes', () => {
  test('is what the agent runs with: a reading has the values of all that was found', async () => {
    const profiles: Profile[] = []
    const broker = await TestBroker.start(profiles)
    const root = await machine(PI)
    const output = join(await temporaryFolder(), 'made/agent.yaml')
    const asked = [
      '--device-id',
      'pi-1',
      '--gateway',
      broker.url,
      '--gateway',
      'mqtt://other:1883',
      '--sources',
      'system,iio,w1,hwmon,thermal'
    ]
    const { code, stdout, stderr } = await init(...asked, '--root', root, '--output', output)
    expect([code, stderr]).toEqual([0, ''])
    expect(stdout).toMatch(/w1_00000a1b2c3d_temperature could not be read: 85 degC/)
    const config = await readConfig(output)
    expect(config).toMatchObject({ deviceId: 'pi-1', gateway: { mqttUrls: [broker.url, 'mqtt://other:1883'] }, intervalMs: 10_000 })
    profiles.push(config.profile)
    expect(await runToEnd(CLI.agent, ['start', '--once', '--config', output])).toMatchObject({ code: 0 })
    const [{ batch }] = broker.batches
    const values = Object.fromEntries(config.profile.metrics.map((metric, m) => [metric.name, valueAt(batch.columns[m], metric, 0)]))
    expect(values).toMatchObject({
      bme280_temp: 23.45,
      bme280_pressure: 98.7654,
      w1_00000a1b2c3e_temperature: 23.13,
      nct6775_systin_1_temp: 48,
      cpu_temperature: 52.3
    })
    expect(values.w1_00000a1b2c3d_temperature).toBeNull()
    expect(values.memory_used).toBeGreaterThan(0)
    const text = readFileSync(output, 'utf8')
    expect(text).toMatch(/^ +bme280_temp: \{ device: bme280, channel: temp \} # 23\.45 degC$/m)
    expect(text).toMatch(/^ +w1_00000a1b2c3d_temperature: .* # could not be read: 85 degC/m)
  })

  test('on a bare machine measures that machine, and needs no profile of its own', async () => {
    const broker = await TestBroker.start()
    const folder = await temporaryFolder()
    const output = join(folder, 'agent.yaml')
    expect(
      await init('--yes', '--device-id', 'pi-1', '--gateway', broker.url, '--root', await machine({}), '--output', output)
    ).toMatchObject({ code: 0, stderr: '' })
    expect((await readConfig(output)).profile.name).toBe('host')
    expect(await runToEnd(CLI.agent, ['start', '--once', '--config', output])).toMatchObject({ code: 0 })
    expect(broker.seqs).toEqual([1])
  })

  test('is for nobody else to read, and its passwords are shown to nobody', async () => {
    const output = join(await temporaryFolder(), 'agent.yaml')
    const { code, stdout, stderr } = await init(
      '--device-id',
      'a',
      '--gateway',
      'mqtt://u:open-sesame@h',
      '--sources',
      'simulated',
      '--output',
      output
    )
    expect([code, stdout + stderr]).toEqual([0, expect.not.stringContaining('open-sesame')])
    expect(readFileSync(output, 'utf8')).toContain('mqtt://u:open-sesame@h')
    expect(statSync(output).mode & 0o777).toBe(0o600)
    const refused = await init('--device-id', 'a', '--gateway', 'mqtt//u:open-sesame@h', '--output', `${output}.2`)
    expect(refused).toMatchObject({ code: 2, stderr: expect.not.stringContaining('open-sesame') })
  })

  test('replaces nothing unless it is told to, and keeps the rights of what it replaces', async () => {
    const folder = await temporaryFolder()
    const output = join(folder, 'agent.yaml')
    const asked = ['--device-id', 'a', '--gateway', 'mqtt://h', '--sources', 'simulated', '--output', output]
    writeFileSync(output, 'mine')
    chmodSync(output, 0o640)
    expect(await init(...asked)).toMatchObject({
      code: 2,
      stderr: `tidemark-agent: there is a file ${output} already: --force replaces it\n`
    })
    expect(readFileSync(output, 'utf8')).toBe('mine')
    expect(await init(...asked, '--force')).toMatchObject({ code: 0 })
    expect((await readConfig(output)).profile.name).toBe('rotating-machine')
    expect(statSync(output).mode & 0o777).toBe(0o640)
    // a profile that somebody has changed stays, too, and no configuration is left without it
    writeFileSync(join(folder, 'sensors.profile.yaml'), 'mine')
    const other = ['--device-id', 'a', '--gateway', 'mqtt://h', '--root', await machine(PI), '--output', join(folder, 'b.yaml')]
    expect(await init(...other)).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/there is a file .*sensors\.profile\.yaml already/)
    })
    expect(() => statSync(join(folder, 'b.yaml'))).toThrow()
  })

  test.each([
    [[], /--device-id and --gateway must be given where no terminal is there to ask at/],
    [['--yes', '--device-id', 'a'], /--gateway must be given: there is no default for it/],
    [['--device-id', 'a b', '--gateway', 'mqtt://h'], /--device-id: must be 1 to 64 letters/],
    [['--device-id', 'a', '--gateway', 'http://h'], /--gateway: write mqtt:\/\/HOST:PORT/],
    [['--device-id', 'a', '--gateway', 'mqtt://h', '--interval', '5'], /--interval: write a number and ms, s, m, h or d/],
    [['--device-id', 'a', '--gateway', 'mqtt://h', '--durability', 'lazy'], /--durability: must be strict or spill/],
    [['--device-id', 'a', '--gateway', 'mqtt://h', '--sources', 'sytem'], /--sources: there is no "sytem"; did you mean "system"\?/],
    [
      ['--device-id', 'a', '--gateway', 'mqtt://h', '--sources', 'iio', '--root', '/usr'],
      /--sources: no iio sensor was found below \/usr\/sys; found: system/
    ],
    [['--device-id', 'a', '--gateway', 'mqtt://h', '--root', '/nowhere'], /--root: there is no folder \/nowhere/]
  ] as const)('not with %j', async (args, complaint) => {
    const output = join(await temporaryFolder(), 'agent.yaml')
    const { code, stdout, stderr } = await init(...args, '--output', output)
    expect([code, stdout]).toEqual([2, ''])
    expect(stderr).toMatch(complaint)
    expect(() => statSync(output)).toThrow()
  })
})

describe('on an SD card', () => {
  /** Makes a folder's disk look like another one. */
  async function machineWithDisk(folder: string, device: string, files: Record<string, string> = {}): Promise<string> {
    const root = await machine({ [`sys/devices/${device}/dev`]: '', ...files })
    const number = execFileSync('stat', ['-c', '%Hd:%Ld', folder], { encoding: 'utf8' }).trim()
    mkdirSync(join(root, 'sys/dev/block'), { recursive: true })
    symlinkSync(join(root, 'sys/devices', device), join(root, 'sys/dev/block', number))
    return root
  }
  const SD = 'platform/mmc0/block/mmcblk0/mmcblk0p2'

  test('readings are published from memory first, and the file says why', async () => {
    const folder = await temporaryFolder()
    const root = await machineWithDisk(folder, SD, { [`sys/devices/${SD}/partition`]: '2\n' })
    const output = join(folder, 'agent.yaml')
    const asked = ['--device-id', 'a', '--gateway', 'mqtt://h', '--root', root, '--output']
    expect((await init(...asked, output)).stdout).toContain('durability  spill (mmcblk0 is an SD card or eMMC)')
    expect((await readConfig(output)).buffer.durability).toBe('spill')
    expect(readFileSync(output, 'utf8')).toContain('For ./a.sqlite: mmcblk0 is an SD card or eMMC.')
    await init(...asked, `${output}.2`, '--durability', 'strict')
    expect((await readConfig(`${output}.2`)).buffer.durability).toBe('strict')
  })

  test('also where the folder is not there yet, or an encrypted partition is below it', async () => {
    const folder = await temporaryFolder()
    const root = await machineWithDisk(folder, 'virtual/block/dm-0', { [`sys/devices/${SD}/partition`]: '2\n' })
    mkdirSync(join(root, 'sys/devices/virtual/block/dm-0/slaves'))
    symlinkSync(join(root, 'sys/devices', SD), join(root, 'sys/devices/virtual/block/dm-0/slaves/mmcblk0p2'))
    expect(await diskOf(join(folder, 'not/there'), root)).toEqual({ name: 'mmcblk0', isCard: true })
  })

  test('also where the file system has a number of its own, as btrfs has', async () => {
    const folder = await temporaryFolder()
    const mounts = ['20 1 0:19 / / rw - btrfs /dev/sda1 rw', `21 20 0:20 / ${dirname(folder)} rw shared:1 - btrfs /dev/mmcblk0p2 rw,ssd`]
    const root = await machine({ 'proc/self/mountinfo': `${mounts.join('\n')}\n`, [`sys/devices/${SD}/partition`]: '2\n' })
    mkdirSync(join(root, 'sys/class/block'), { recursive: true })
    symlinkSync(join(root, 'sys/devices', SD), join(root, 'sys/class/block/mmcblk0p2'))
    expect(await diskOf(folder, root)).toEqual({ name: 'mmcblk0', isCard: true })
  })

  test('but not on another disk, nor where nothing is known', async () => {
    const folder = await temporaryFolder()
    const disk = 'pci/ata1/block/sda/sda1'
    const root = await machineWithDisk(folder, disk, { [`sys/devices/${disk}/partition`]: '1\n' })
    expect(await diskOf(folder, root)).toEqual({ name: 'sda', isCard: false })
    expect(await diskOf(folder, await machine({}))).toEqual({ name: null, isCard: false })
  })
})

describe.skipIf(!hasTerminal)('at a terminal', () => {
  const ENTER = '\r'
  const command = (...args: string[]) => [process.execPath, CLI.agent, 'init', ...args]

  test('asks for what is not given, says what is wrong with an answer, and shows no password', async () => {
    const output = join(await temporaryFolder(), 'agent.yaml')
    const { code, screen } = typeAt(command('--output', output, '--root', await machine(PI), '--device-id', 'pi-1'), [
      ['The gateway', `gateway.local${ENTER}`],
      ['write mqtt://HOST:PORT', `${'\x7f'.repeat(13)}mqtt://gateway.local:1883${ENTER}`],
      ['User name', `operator${ENTER}`],
      ['Password', `open sesame${ENTER}`],
      ['What to measure', ENTER],
      ['Time between', ENTER],
      ['How readings are kept', ENTER]
    ])
    expect([code, screen]).toEqual([0, expect.stringContaining(`wrote       ${output}`)])
    expect(screen).not.toMatch(/open.sesame/)
    const { deviceId, gateway, sources } = await readConfig(output)
    expect(deviceId).toBe('pi-1')
    expect(gateway.mqttUrls).toEqual(['mqtt://operator:open%20sesame@gateway.local:1883'])
    expect(sources.map(({ type }) => type)).toEqual(['system', 'iio', 'w1'])
  })

  test('Ctrl-C at a question writes nothing', async () => {
    const output = join(await temporaryFolder(), 'agent.yaml')
    const { code, screen } = typeAt(command('--output', output), [['Name of this device', '\x03']])
    expect([code, screen]).toEqual([130, expect.stringContaining('nothing was written')])
    expect(() => statSync(output)).toThrow()
  })
})
