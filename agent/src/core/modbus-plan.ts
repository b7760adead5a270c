/**
 * Which Modbus requests read a set of values, and what the words of an answer mean. Pure.
 * Limits and words as in the MODBUS Application Protocol Specification V1.1b3.
 */

export type RegisterTable = 'holding' | 'input' | 'coil' | 'discrete'
export type RegisterType = 'int16' | 'uint16' | 'int32' | 'uint32' | 'int64' | 'uint64' | 'float32' | 'float64'

/** One value in a device: `words` registers, or one bit. */
export interface RegisterValue {
  readonly name: string
  readonly unit: number
  readonly table: RegisterTable
  /** Address of the first, from 0. */
  readonly register: number
  readonly type: RegisterType
  /** `little`: the word of least weight comes first. Bytes in a word are always big-endian. */
  readonly wordOrder: 'big' | 'little'
}

/** One request. */
export interface RegisterRead {
  readonly unit: number
  readonly table: RegisterTable
  readonly register: number
  readonly count: number
  readonly values: readonly RegisterValue[]
}

const WORDS: Readonly<Record<RegisterType, number>> = {
  int16: 1,
  uint16: 1,
  int32: 2,
  uint32: 2,
  int64: 4,
  uint64: 4,
  float32: 2,
  float64: 4
}

const REGISTERS_PER_READ_MAX = 125
const BITS_PER_READ_MAX = 2000

/**
 * The fewest requests that ask for no register that nobody wants: a device may answer an error for one that it does not have.
 * Values that lie side by side are read at once, and so belong to the same moment.
 */
export function planReads(values: readonly RegisterValue[]): RegisterRead[] {
  const sorted = [...values].sort((a, b) => a.unit - b.unit || a.table.localeCompare(b.table) || a.register - b.register)
  const reads: RegisterRead[] = []
  for (const value of sorted) {
    const last = reads[reads.length - 1]
    const end = value.register + size(value)
    const isSame = last !== undefined && last.unit === value.unit && last.table === value.table
    if (isSame && value.register <= last.register + last.count && end - last.register <= sizeMax(value.table)) {
      reads[reads.length - 1] = { ...last, count: Math.max(last.count, end - last.register), values: [...last.values, value] }
    } else reads.push({ unit: value.unit, table: value.table, register: value.register, count: size(value), values: [value] })
  }
  return reads
}

/** The number that a value has in the bytes of its read's registers; NaN where they are no finite number. */
export function decodeRegisters(value: RegisterValue, read: RegisterRead, bytes: Uint8Array): number {
  const words = size(value)
  const start = (value.register - read.register) * 2
  const view = new DataView(new ArrayBuffer(words * 2))
  for (let word = 0; word < words; word++) {
    const from = start + 2 * (value.wordOrder === 'big' ? word : words - 1 - word)
    view.setUint8(2 * word, bytes[from])
    view.setUint8(2 * word + 1, bytes[from + 1])
  }
  switch (value.type) {
    case 'int16':
      return view.getInt16(0)
    case 'uint16':
      return view.getUint16(0)
    case 'int32':
      return view.getInt32(0)
    case 'uint32':
      return view.getUint32(0)
    case 'int64':
      return Number(view.getBigInt64(0))
    case 'uint64':
      return Number(view.getBigUint64(0))
    case 'float32':
      return view.getFloat32(0)
    case 'float64':
      return view.getFloat64(0)
    default:
      return value.type satisfies never
  }
}

function size({ table, type }: RegisterValue): number {
  return table === 'coil' || table === 'discrete' ? 1 : WORDS[type]
}

function sizeMax(table: RegisterTable): number {
  return table === 'coil' || table === 'discrete' ? BITS_PER_READ_MAX : REGISTERS_PER_READ_MAX
}
