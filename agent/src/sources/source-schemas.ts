/** The shape of each source in the configuration file, with its defaults. */
import { z } from 'zod'
import { duration, jsonPath, urlOf, zone } from '../config-values.js'
import { MAPPINGS_MAX } from '../limits.js'

/** For sources that map: value = raw * scale + offset. */
const scaling = { scale: z.number().default(1), offset: z.number().default(0) }

/** Metric to what it is read from. */
const metrics = <T extends z.ZodRawShape>(shape: T) =>
  z
    .record(z.string(), z.strictObject({ ...shape, ...scaling }))
    .refine(map => Object.keys(map).length > 0, 'name at least one metric')
    .refine(map => Object.keys(map).length <= MAPPINGS_MAX, `names more than ${MAPPINGS_MAX} metrics`)

const timeout = duration(1).optional()
const root = z.string().min(1).default('/')
const name = z.string().min(1).max(256)

/** Of a source that gives metrics by their own names: which of them. */
const someMetrics = z.array(name).min(1).optional()

const systemSource = z.strictObject({
  type: z.literal('system'),
  disk: z.string().min(1).default('/'),
  root,
  metrics: someMetrics,
  timeout
})

const simulatedSource = z.strictObject({
  type: z.literal('simulated'),
  seed: z
    .int()
    .min(0)
    .max(2 ** 31 - 1)
    .default(1),
  readings: z.int().min(1).optional(),
  metrics: someMetrics
})

export const csvSource = z.strictObject({
  type: z.literal('csv'),
  path: z.string().min(1),
  delimiter: z.string().min(1).max(4).default(','),
  decimal: z.enum(['.', ',']).default('.'),
  time: z.strictObject({ column: z.string().min(1), zone: zone.default('UTC'), format: z.string().min(1).default('auto') }),
  columns: z.record(z.string(), z.string()).default({}),
  speed: z.union([z.literal('max'), z.number().positive()], 'must be max, or a factor: 1 is as recorded').default('max')
})

const sysfsSource = <T extends string, S extends z.ZodRawShape>(type: T, shape: S) =>
  z.strictObject({ type: z.literal(type), root, timeout, metrics: metrics(shape) })

const w1Sensor = z.string().regex(/^[0-9a-f]{2}-[0-9a-f]{12}$/, 'is no 1-Wire ID; write one like 28-00000a1b2c3d')

const registers = z.int().min(0).max(65_535)
const unit = z.int().min(0).max(255)

const modbusSource = z
  .strictObject({
    type: z.literal('modbus'),
    url: urlOf(['tcp:'], 'write tcp://HOST or tcp://HOST:PORT').optional(),
    serial: z
      .strictObject({
        path: z.string().startsWith('/'),
        baud_rate: z.int().min(50).max(4_000_000).default(9600),
        data_bits: z.literal([7, 8]).default(8),
        stop_bits: z.literal([1, 2]).default(1),
        parity: z.enum(['none', 'even', 'odd']).default('even')
      })
      .optional(),
    unit: unit.default(1),
    timeout,
    metrics: metrics({
      table: z.enum(['holding', 'input', 'coil', 'discrete']).default('holding'),
      register: registers,
      type: z.enum(['int16', 'uint16', 'int32', 'uint32', 'int64', 'uint64', 'float32', 'float64']).default('int16'),
      word_order: z.enum(['big', 'little']).default('big'),
      unit: unit.optional()
    })
  })
  .refine(source => (source.url === undefined) !== (source.serial === undefined), 'name a url, or a serial line, and not both')

const mqttSource = z.strictObject({
  type: z.literal('mqtt'),
  url: urlOf(['mqtt:', 'mqtts:'], 'write mqtt://HOST:PORT, or mqtts:// for TLS'),
  max_age: duration(1).default(300_000),
  retained: z.boolean().default(false),
  timeout,
  metrics: metrics({ topic: z.string().min(1).max(1024).refine(isTopic, 'must be a topic without + and #'), path: jsonPath.optional() })
})

const httpSource = z.strictObject({
  type: z.literal('http'),
  url: urlOf(['http:', 'https:'], 'write http://HOST/PATH or https://HOST/PATH'),
  headers: z.record(z.string(), z.string()).default({}),
  timeout,
  metrics: metrics({ path: jsonPath.optional() })
})

const execSource = z.strictObject({
  type: z.literal('exec'),
  command: z.array(z.string(), 'must be a list: the program, then its arguments').min(1),
  timeout,
  metrics: metrics({ path: jsonPath.optional() })
})

function isTopic(topic: string): boolean {
  return !/[+#]/.test(topic)
}

/** Sources that measure when they are asked, and can stand beside others. */
export const liveSourceSchemas = [
  systemSource,
  simulatedSource,
  sysfsSource('iio', { device: name, channel: name }),
  sysfsSource('hwmon', { chip: name, input: name }),
  sysfsSource('thermal', { zone: name }),
  sysfsSource('w1', { sensor: w1Sensor }),
  modbusSource,
  mqttSource,
  httpSource,
  execSource
] as const

export type LiveSourceConfig = z.output<(typeof liveSourceSchemas)[number]>

export type CsvSourceConfig = z.output<typeof csvSource>
