import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import fc from 'fast-check'
import { describe, expect, onTestFinished, test } from 'vitest'
import { decodeRegisters, planReads, type RegisterValue } from '../../../agent/src/core/modbus-plan.js'
import { type ModbusMapping, openModbus } from '../../../agent/src/sources/modbus.js'
import type { LiveSource } from '../../../agent/src/sources/source.js'
import { measureOnce, profileOf, temporaryFolder, until } from '../kit.js'

/** A Modbus device in a process of its own, by another implementation (jsmodbus): over TCP, or on the serial line in argv[1]. */
const DEVICE = `
  import { createServer } from 'node:net'
  import jsmodbus from 'jsmodbus'
  const holding = Buffer.alloc(400), input = Buffer.alloc(40), coils = Buffer.alloc(4), discrete = Buffer.alloc(4)
  holding.writeInt16BE(-235, 0)            // register 0
  holding.writeUInt16BE(51234, 2)          // 1
  holding.writeFloatBE(3.25, 4)            // 2, 3
  holding.writeUInt16BE(0xe240, 8)         // 4, 5: 123456, the word of least weight first
  holding.writeUInt16BE(0x0001, 10)
  holding.writeDoubleBE(-0.1, 12)          // 6 to 9
  holding.writeInt16BE(77, 2 * 150)
  input.writeInt32BE(-100000, 0)
  coils[0] = 0b00000101
  discrete[0] = 0b00000010
  const options = { holding, input, coils, discrete }
  if (process.argv[1] !== undefined) {
    const { SerialPort } = await import('serialport')
    const port = new SerialPort({ path: process.argv[1], baudRate: 19200, parity: 'even' }, () => console.log('ready 0'))
    new jsmodbus.server.RTU(port, options)
  } else {
    const server = createServer()
    const device = new jsmodbus.server.TCP(server, { ...options, input: undefined })
    device.on('readInputRegisters', ({ id, address, body: { start, count } }, answer) => {
      const pdu = (start + count) * 2 > input.length
        ? Buffer.from([0x84, 2]) // illegal data address
        : Buffer.concat([Buffer.from([4, count * 2]), input.subarray(start * 2, (start + count) * 2)])
      answer(Buffer.concat([Buffer.from([id >> 8, id & 255, 0, 0, 0, pdu.length + 1, address]), pdu]))
    })
    server.listen(0, '127.0.0.1', () => console.log('ready ' + server.address().port))
  }
`

async function startDevice(line?: string): Promise<{ child: ChildProcess; port: number }> {
  const cwd = fileURLToPath(new URL('../../..', import.meta.url))
  const child = spawn(process.execPath, ['--input-type=module', '-e', DEVICE, ...(line === undefined ? [] : [line])], { cwd })
  onTestFinished(() => {
    child.kill('SIGKILL')
  })
  let output = ''
  child.stdout.on('data', chunk => {
    output += chunk
  })
  child.stderr.on('data', chunk => {
    output += chunk
  })
  await until(() => {
    if (child.exitCode !== null) throw new Error(output)
    return output.includes('ready ')
  })
  return { child, port: Number(/ready (\d+)/.exec(output)![1]) }
}

const map = (register: number, changes: Partial<ModbusMapping> = {}): ModbusMapping => {
  return { register, table: 'holding', type: 'int16', word_order: 'big', scale: 1, offset: 0, ...changes }
}

const METRICS = {
  temperature: map(0, { scale: 0.1 }),
  speed: map(1, { type: 'uint16' }),
  pressure: map(2, { type: 'float32' }),
  hours: map(4, { type: 'uint32', word_order: 'little' }),
  power: map(6, { type: 'float64' }),
  far: map(150),
  torque: map(0, { table: 'input', type: 'int32' }),
  running: map(2, { table: 'coil' }),
  alarm: map(0, { table: 'discrete' })
} as const

const EXPECTED = {
  temperature: -23.5,
  speed: 51_234,
  pressure: 3.25,
  hours: 123_456,
  power: -0.1,
  far: 77,
  torque: -100_000,
  running: true,
  alarm: false
}

const PROFILE = profileOf(
  ...Object.keys(METRICS).map(name => (name === 'running' || name === 'alarm' ? ({ name, type: 'bool' } as const) : name))
)

function opened(source: LiveSource): LiveSource {
  onTestFinished(() => source.close())
  return source
}

describe('a Modbus device over TCP', () => {
  const open = (port: number, metrics: Record<string, ModbusMapping> = METRICS) =>
    opened(openModbus({ url: `tcp://127.0.0.1:${port}`, unit: 1, metrics }, PROFILE))

  test('gives registers of every table and type', async () => {
    const { port } = await startDevice()
    expect(await measureOnce(open(port))).toEqual({ values: EXPECTED, problems: [] })
  })

  test('that has no such register spoils only the metrics behind it, and keeps its connection', async () => {
    const { port } = await startDevice()
    const source = open(port, { temperature: METRICS.temperature, far: map(300, { table: 'input' }) })
    for (let i = 0; i < 2; i++) {
      const { values, problems } = await measureOnce(source)
      expect(values).toEqual({ temperature: -23.5 })
      expect(problems).toEqual([expect.stringMatching(/^far: unit 1 refuses input 300: .*[Ii]llegal data address/)])
    }
  })

  test('is connected to again when it is back', async () => {
    const { child, port } = await startDevice()
    const source = open(port)
    await measureOnce(source)
    child.kill('SIGKILL')
    await until(() => child.signalCode !== null)
    await expect(source.measure(new AbortController().signal)).rejects.toThrow(new RegExp(`unit 1 at 127.0.0.1:${port}`))
    await expect(source.measure(new AbortController().signal)).rejects.toThrow(/nothing listens there/)
  })

  test('that never answers is given up when its time is over, and asked anew over a new connection', async () => {
    const { child, port } = await startDevice()
    const source = open(port)
    await measureOnce(source)
    child.kill('SIGSTOP')
    const limit = new AbortController()
    const measuring = source.measure(limit.signal)
    limit.abort()
    await expect(measuring).rejects.toThrow(/no answer in time/)
    child.kill('SIGCONT')
    expect((await measureOnce(source)).values).toEqual(EXPECTED)
  })
})

const hasSocat = spawnSync('socat', ['-V']).status === 0
if (!hasSocat) console.warn('SKIPPED: Modbus RTU is not tested, because socat is missing: apt-get install socat')

test.runIf(hasSocat)('a Modbus device on a serial line gives the same', async () => {
  const folder = await temporaryFolder()
  const [ours, theirs] = [join(folder, 'ours'), join(folder, 'theirs')]
  const socat = spawn('socat', [`pty,raw,echo=0,link=${ours}`, `pty,raw,echo=0,link=${theirs}`])
  onTestFinished(() => {
    socat.kill('SIGKILL')
  })
  await until(() => existsSync(ours) && existsSync(theirs))
  await startDevice(theirs)
  const serial = { path: ours, baud_rate: 19_200, data_bits: 8, stop_bits: 1, parity: 'even' } as const
  const source = opened(openModbus({ serial, unit: 1, metrics: METRICS }, PROFILE))
  for (let i = 0; i < 3; i++) expect(await measureOnce(source)).toEqual({ values: EXPECTED, problems: [] })
})

describe('the plan of what to read', () => {
  const value = (register: number, changes: Partial<RegisterValue> = {}): RegisterValue => {
    return { name: `r${register}`, unit: 1, table: 'holding', register, type: 'int16', wordOrder: 'big', ...changes }
  }

  //  registers  0 1 2 3 . 5       one request for 0 to 3, another for 5: nobody asked for 4
  test('joins what lies side by side, and asks for nothing else', () => {
    const reads = planReads([value(5), value(2, { type: 'float32' }), value(0), value(1)])
    expect(reads.map(({ register, count }) => [register, count])).toEqual([
      [0, 4],
      [5, 1]
    ])
  })

  test('reads each wanted register once, none that is not wanted, and at most 125 at a time', () => {
    const arbitrary = fc.record({
      register: fc.nat(300),
      unit: fc.integer({ min: 1, max: 2 }),
      table: fc.constantFrom('holding' as const, 'input' as const),
      type: fc.constantFrom('int16' as const, 'float32' as const, 'float64' as const)
    })
    fc.assert(
      fc.property(fc.array(arbitrary, { maxLength: 60 }), changes => {
        const values = changes.map((change, i) => value(change.register, { ...change, name: `v${i}` }))
        const reads = planReads(values)
        expect(reads.flatMap(read => read.values.map(({ name }) => name)).sort()).toEqual(values.map(({ name }) => name).sort())
        for (const read of reads) {
          expect(read.count).toBeLessThanOrEqual(125)
          const wanted = new Set<number>()
          for (const { register, type } of read.values)
            for (let i = 0; i < { int16: 1, float32: 2, float64: 4 }[type as 'int16']; i++) wanted.add(register + i)
          expect([...wanted].sort((a, b) => a - b)).toEqual(Array.from({ length: read.count }, (_, i) => read.register + i))
        }
      })
    )
  })

  test('a value is decoded from where it lies in its request', () => {
    const [read] = planReads([value(7, { type: 'int32', wordOrder: 'little' }), value(6)])
    const bytes = Uint8Array.of(0, 9, 0xff, 0xfe, 0xff, 0xff)
    expect(read.values.map(v => decodeRegisters(v, read, bytes))).toEqual([9, -2])
  })
})
