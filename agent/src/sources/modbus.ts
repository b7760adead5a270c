/**
 * Reads registers of Modbus devices, over TCP or a serial line (RTU). One connection, opened when it is needed and again after
 * anything but an answer: a late answer must not be taken for that of the next question.
 */
import type { Profile } from '@tidemark/protocol'
import type ModbusSerial from 'modbus-serial'
import { decodeRegisters, planReads, type RegisterRead, type RegisterTable, type RegisterType } from '../core/modbus-plan.js'
import { Measurement, mappedMetrics, messageOf, type Scaling } from './mapping.js'
import type { LiveSource } from './source.js'

export interface ModbusConfig {
  /** tcp://HOST[:PORT]; absent where the line is serial. */
  readonly url?: string | undefined
  readonly serial?: SerialLine | undefined
  /** Of values that name none themselves. */
  readonly unit: number
  readonly metrics: Readonly<Record<string, ModbusMapping>>
}

export interface SerialLine {
  readonly path: string
  readonly baud_rate: number
  readonly data_bits: number
  readonly stop_bits: number
  readonly parity: 'none' | 'even' | 'odd'
}

export interface ModbusMapping extends Scaling {
  readonly table: RegisterTable
  readonly register: number
  readonly type: RegisterType
  readonly word_order: 'big' | 'little'
  readonly unit?: number | undefined
}

type Client = ModbusSerial.default

const PORT = 502

export function openModbus(config: ModbusConfig, profile: Profile): LiveSource {
  const metrics = mappedMetrics('modbus', profile, Object.keys(config.metrics))
  const reads = planReads(
    Object.entries(config.metrics).map(([name, { table, register, type, word_order, unit }]) => {
      return { name, table, register, type, wordOrder: word_order, unit: unit ?? config.unit }
    })
  )
  const line = new ModbusLine(config)
  return {
    key: `modbus:${line.name}`,
    metrics: [...metrics.keys()],
    async measure(signal) {
      const measurement = new Measurement(metrics)
      for (const read of reads) {
        const answer = await line.read(read, signal)
        for (const value of read.values) {
          const mapping = config.metrics[value.name]
          if (typeof answer === 'string') measurement.fail(value.name, answer)
          else if (Array.isArray(answer)) measurement.put(value.name, answer[value.register - read.register], mapping)
          else measurement.put(value.name, decodeRegisters(value, read, answer), mapping)
        }
      }
      return measurement.done()
    },
    close: () => line.close()
  }
}

class ModbusLine {
  readonly name: string
  private client: Client | null = null

  constructor(private readonly config: ModbusConfig) {
    this.name = config.serial === undefined ? new URL(config.url!).host : config.serial.path
  }

  /** Bits or the bytes of registers; a text where the device answers that it cannot. Rejects where there is no answer. */
  async read(read: RegisterRead, signal: AbortSignal): Promise<boolean[] | Uint8Array | string> {
    const { unit, table, register, count } = read
    try {
      return await unlessAborted(signal, async () => {
        this.client ??= await this.connect(signal)
        this.client.setID(unit)
        if (table === 'holding') return (await this.client.readHoldingRegisters(register, count)).buffer
        if (table === 'input') return (await this.client.readInputRegisters(register, count)).buffer
        if (table === 'coil') return (await this.client.readCoils(register, count)).data.slice(0, count)
        return (await this.client.readDiscreteInputs(register, count)).data.slice(0, count)
      })
    } catch (error) {
      if (error instanceof Error && 'modbusCode' in error) return `unit ${unit} refuses ${table} ${register}: ${error.message}`
      await this.close()
      throw new Error(`unit ${unit} at ${this.name}: ${problemOf(error)}`, { cause: error })
    }
  }

  async close(): Promise<void> {
    const client = this.client
    this.client = null
    if (client !== null) drop(client, this.config.serial !== undefined)
  }

  private async connect(signal: AbortSignal): Promise<Client> {
    const { serial, url } = this.config
    const { default: modbus } = await import('modbus-serial')
    const client = new modbus.default()
    client.on('error', () => {}) // the request that is under way fails with it
    const giveUp = () => drop(client, serial !== undefined)
    signal.addEventListener('abort', giveUp, { once: true })
    try {
      if (serial !== undefined) {
        const { path, baud_rate: baudRate, data_bits: dataBits, stop_bits: stopBits, parity } = serial
        await client.connectRTUBuffered(path, { baudRate, dataBits, stopBits, parity })
      } else {
        const { hostname, port } = new URL(url!)
        await client.connectTCP(hostname.replace(/^\[(.*)\]$/, '$1'), { port: port === '' ? PORT : Number(port) })
      }
      if (signal.aborted) throw new Error('connected too late')
      return client
    } catch (error) {
      giveUp()
      throw error
    } finally {
      signal.removeEventListener('abort', giveUp)
    }
  }
}

/** `destroy` forgets the requests under way; a serial port has none, and is closed. */
function drop(client: Client, isSerial: boolean): void {
  if (isSerial) client.close(() => {})
  else client.destroy(() => {})
}

/** Settles as `work` does, or rejects when the signal aborts; the library's own timers know nothing of it. */
function unlessAborted<T>(signal: AbortSignal, work: () => Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const onAbort = () => reject(new Error('no answer in time'))
    if (signal.aborted) return onAbort()
    signal.addEventListener('abort', onAbort, { once: true })
    work()
      .then(resolve, reject)
      .finally(() => signal.removeEventListener('abort', onAbort))
  })
}

function problemOf(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? error.code : undefined
  if (code === 'ECONNREFUSED') return 'nothing listens there'
  if (code === 'MODULE_NOT_FOUND') return 'serial lines need the package serialport: npm install -g serialport beside the agent'
  return messageOf(error)
}
