import { rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { openHwmon } from '../../../agent/src/sources/hwmon.js'
import { openIio } from '../../../agent/src/sources/iio.js'
import { openThermal } from '../../../agent/src/sources/thermal.js'
import { openW1, parseSlave } from '../../../agent/src/sources/w1.js'
import { machine, measureOnce, profileOf } from '../kit.js'

const plain = { scale: 1, offset: 0 }

describe('the iio source', () => {
  // A BME280 gives computed values, an ADS1115 raw ones with a shared scale, an accelerometer signed raw ones.
  const TREE = {
    'sys/bus/iio/devices/iio:device0/name': 'bme280\n',
    'sys/bus/iio/devices/iio:device0/in_temp_input': '23450\n',
    'sys/bus/iio/devices/iio:device0/in_humidityrelative_input': '41250\n',
    'sys/bus/iio/devices/iio:device0/in_pressure_input': '98.765429687\n',
    'sys/bus/iio/devices/iio:device1/name': 'ads1015\n',
    'sys/bus/iio/devices/iio:device1/in_voltage0_raw': '1650\n',
    'sys/bus/iio/devices/iio:device1/in_voltage_scale': '2.000000000\n',
    'sys/bus/iio/devices/iio:device1/in_voltage1_raw': '100\n',
    'sys/bus/iio/devices/iio:device1/in_voltage1_scale': '3\n',
    'sys/bus/iio/devices/iio:device1/in_voltage1_offset': '-40\n',
    'sys/bus/iio/devices/iio:device2/name': 'adxl345\n',
    'sys/bus/iio/devices/iio:device2/in_accel_x_raw': '-26\n',
    'sys/bus/iio/devices/iio:device2/in_accel_scale': '0.038300\n'
  }

  test('gives computed channels and raw ones, in the units that people use', async () => {
    const root = await machine(TREE)
    const metrics = {
      temperature: { device: 'bme280', channel: 'temp', ...plain },
      humidity: { device: 'bme280', channel: 'humidityrelative', ...plain },
      pressure: { device: 'bme280', channel: 'pressure', scale: 0.01, offset: 0 }, // kPa to bar
      supply: { device: 'ads1015', channel: 'voltage0', ...plain },
      battery: { device: 'iio:device1', channel: 'voltage1', scale: 10, offset: 1 },
      tilt: { device: 'adxl345', channel: 'accel_x', ...plain }
    }
    const { values, problems } = await measureOnce(openIio({ root, metrics }, profileOf(...Object.keys(metrics))))
    expect(problems).toEqual([])
    const expected = { temperature: 23.45, humidity: 41.25, pressure: 0.98765, supply: 3.3, battery: 2.8, tilt: -0.9958 }
    for (const [name, value] of Object.entries(expected)) expect(values[name], name).toBeCloseTo(value, 4)
  })

  test('gives what it can where a device is gone, and says which are there', async () => {
    const root = await machine(TREE)
    const metrics = {
      temperature: { device: 'bme280', channel: 'temp', ...plain },
      light: { device: 'tsl2591', channel: 'illuminance', ...plain }
    }
    const source = openIio({ root, metrics }, profileOf('temperature', 'light'))
    const first = await measureOnce(source)
    expect(first.values).toEqual({ temperature: 23.45 })
    expect(first.problems).toEqual([expect.stringMatching(/^light: there is no tsl2591 in .*; there are: bme280, ads1015, adxl345$/)])
    await rm(join(root, 'sys/bus/iio/devices/iio:device0'), { recursive: true })
    expect((await measureOnce(source)).values).toEqual({})
  })
})

describe('the hwmon source', () => {
  const TREE = {
    'sys/class/hwmon/hwmon0/name': 'nct6775\n',
    'sys/class/hwmon/hwmon0/temp1_input': '48000\n',
    'sys/class/hwmon/hwmon0/fan2_input': '1320\n',
    'sys/class/hwmon/hwmon0/in0_input': '3312\n',
    'sys/class/hwmon/hwmon0/temp7_label': 'PCH\n',
    'sys/class/hwmon/hwmon0/temp7_input': '39500\n',
    'sys/class/hwmon/hwmon1/name': 'ina260\n',
    'sys/class/hwmon/hwmon1/curr1_input': '812\n',
    'sys/class/hwmon/hwmon1/power1_input': '9720000\n'
  }

  test('gives temperatures, fans, voltages, currents and powers, by number or by label', async () => {
    const metrics = {
      board: { chip: 'nct6775', input: 'temp1', ...plain },
      pch: { chip: 'nct6775', input: 'PCH', ...plain },
      fan: { chip: 'hwmon0', input: 'fan2', ...plain },
      supply: { chip: 'nct6775', input: 'in0', ...plain },
      current: { chip: 'ina260', input: 'curr1', ...plain },
      power: { chip: 'ina260', input: 'power1', ...plain }
    }
    const source = openHwmon({ root: await machine(TREE), metrics }, profileOf(...Object.keys(metrics)))
    const { values, problems } = await measureOnce(source)
    expect(problems).toEqual([])
    expect(values).toEqual({ board: 48, pch: 39.5, fan: 1320, supply: 3.312, current: 0.812, power: 9.72 })
  })

  test('says what labels there are where it finds none', async () => {
    const metrics = { board: { chip: 'nct6775', input: 'CPU', ...plain } }
    const { problems } = await measureOnce(openHwmon({ root: await machine(TREE), metrics }, profileOf('board')))
    expect(problems).toEqual([expect.stringMatching(/^board: .* has no input "CPU"; there are: PCH$/)])
  })

  test('refuses to guess between two chips of one name', async () => {
    const root = await machine({ 'sys/class/hwmon/hwmon0/name': 'drivetemp', 'sys/class/hwmon/hwmon1/name': 'drivetemp' })
    const metrics = { disk: { chip: 'drivetemp', input: 'temp1', ...plain } }
    const { problems } = await measureOnce(openHwmon({ root, metrics }, profileOf('disk')))
    expect(problems).toEqual([expect.stringMatching(/there are several drivetemp .*: name one of hwmon0, hwmon1/)])
  })
})

test('the thermal source gives zones by type or folder, and null while one is asleep', async () => {
  const root = await machine({
    'sys/class/thermal/thermal_zone0/type': 'cpu-thermal\n',
    'sys/class/thermal/thermal_zone0/temp': '48312\n',
    'sys/class/thermal/thermal_zone1/type': 'gpu-thermal\n',
    'sys/class/thermal/thermal_zone1/temp': '44000\n'
  })
  const metrics = { cpu: { zone: 'cpu-thermal', ...plain }, gpu: { zone: 'thermal_zone1', ...plain } }
  const source = openThermal({ root, metrics }, profileOf('cpu', 'gpu'))
  expect((await measureOnce(source)).values).toEqual({ cpu: 48.312, gpu: 44 })
  await writeFile(join(root, 'sys/class/thermal/thermal_zone1/temp'), '')
  const { values, problems } = await measureOnce(source)
  expect(values).toEqual({ cpu: 48.312 })
  expect(problems).toEqual([expect.stringMatching(/^gpu: .*thermal_zone1\/temp holds no number$/)])
})

describe('the w1 source', () => {
  const GOOD = '72 01 4b 46 7f ff 0e 10 57 : crc=57 YES\n72 01 4b 46 7f ff 0e 10 57 t=23125\n'
  const BELOW_ZERO = '5e ff 4b 46 7f ff 02 10 b6 : crc=b6 YES\n5e ff 4b 46 7f ff 02 10 b6 t=-10125\n'
  const POWER_ON = '50 05 4b 46 7f ff 0c 10 1c : crc=1c YES\n50 05 4b 46 7f ff 0c 10 1c t=85000\n'
  const HOT = '50 05 4b 46 7f ff 10 10 bd : crc=bd YES\n50 05 4b 46 7f ff 10 10 bd t=85000\n'

  test('gives a temperature with a good checksum, also below zero', () => {
    expect(parseSlave(GOOD, null)).toBe(23.125)
    expect(parseSlave(BELOW_ZERO, null)).toBe(-10.125)
  })

  test.each([
    ['the kernel says NO', GOOD.replace('YES', 'NO')],
    ['a bit has flipped that the kernel let pass', GOOD.replaceAll('72 01', '73 01')],
    ['the bus is shorted: all zero, whose checksum is right', '00 00 00 00 00 00 00 00 00 : crc=00 YES\n00 00 t=0\n'],
    ['the text is cut off', GOOD.slice(0, 20)],
    ['there is no text', '']
  ])('refuses a reading where %s', (_, text) => {
    expect(() => parseSlave(text, null)).toThrow(/the checksum is wrong/)
  })

  test('refuses 85 degC, the power-on value, and believes it of a sensor that was about as hot before', () => {
    expect(() => parseSlave(POWER_ON, null)).toThrow(/85 degC is what the sensor shows before it has measured/)
    expect(() => parseSlave(POWER_ON, 84.9)).toThrow(/power supply/)
    expect(() => parseSlave(HOT, null)).toThrow(/85 degC/)
    expect(() => parseSlave(HOT, 23)).toThrow(/85 degC/)
    expect(parseSlave(HOT, 84.9)).toBe(85)
  })

  test('gives the good sensors where another is unplugged', async () => {
    const root = await machine({
      'sys/bus/w1/devices/28-000000000001/w1_slave': GOOD,
      'sys/bus/w1/devices/28-000000000002/w1_slave': POWER_ON
    })
    const metrics = {
      inlet: { sensor: '28-000000000001', ...plain },
      outlet: { sensor: '28-000000000002', ...plain },
      ambient: { sensor: '28-000000000003', ...plain }
    }
    const { values, problems } = await measureOnce(openW1({ root, metrics }, profileOf('inlet', 'outlet', 'ambient')))
    expect(values).toEqual({ inlet: 23.125 })
    expect(problems).toEqual([expect.stringMatching(/^outlet: 85 degC/), expect.stringMatching(/^ambient: there is no .*28-000000000003/)])
  })
})
