import {
  DuckDBBlobValue,
  DuckDBDateValue,
  DuckDBDecimalValue,
  DuckDBTimestampMillisecondsValue,
  DuckDBTimestampNanosecondsValue,
  DuckDBTimestampSecondsValue,
  DuckDBTimestampTZValue,
  DuckDBTimestampValue,
  type DuckDBType,
  DuckDBTypeId,
  type DuckDBValue,
  type Json,
  JsonDuckDBValueConverter
} from '@duckdb/node-api'
import type { ColumnSpec, ColumnType } from '../processor/rows.js'

/**
 * How values of a query's result are shown: to programs as JSON, to people as text. Times are UTC, bytes are hex. And what DuckDB calls
 * the types of our columns.
 */

const NUMERIC: ReadonlySet<DuckDBTypeId> = new Set([
  DuckDBTypeId.TINYINT,
  DuckDBTypeId.SMALLINT,
  DuckDBTypeId.INTEGER,
  DuckDBTypeId.BIGINT,
  DuckDBTypeId.UTINYINT,
  DuckDBTypeId.USMALLINT,
  DuckDBTypeId.UINTEGER,
  DuckDBTypeId.UBIGINT,
  DuckDBTypeId.HUGEINT,
  DuckDBTypeId.UHUGEINT,
  DuckDBTypeId.FLOAT,
  DuckDBTypeId.DOUBLE,
  DuckDBTypeId.DECIMAL
])

/** A double holds any decimal of so many digits. */
const DECIMAL_DIGITS_EXACT = 15

export function isNumeric(type: DuckDBType): boolean {
  return NUMERIC.has(type.typeId)
}

/**
 * Integers and decimals are numbers where a double holds them, else strings. NaN and infinities are null. Times are RFC 3339. Bytes are
 * lower-case hex.
 */
export function toJson(value: DuckDBValue, type: DuckDBType): Json {
  if (value === null || typeof value === 'boolean' || typeof value === 'string') return value
  if (typeof value === 'number') return Number.isFinite(value) ? value : null
  if (typeof value === 'bigint') return Number.isSafeInteger(Number(value)) ? Number(value) : String(value)
  if (value instanceof DuckDBBlobValue) return Buffer.from(value.bytes).toString('hex')
  if (value instanceof DuckDBDecimalValue && value.width <= DECIMAL_DIGITS_EXACT) return Number(value.toString())
  return timeText(value) ?? JsonDuckDBValueConverter(value, type, toJson)
}

export function toText(value: DuckDBValue): string {
  if (value === null) return ''
  if (value instanceof DuckDBBlobValue) return Buffer.from(value.bytes).toString('hex')
  return timeText(value)?.replace('T', ' ') ?? String(value)
}

/** RFC 3339, with as many digits of the second as there are; null for what is no time. */
function timeText(value: DuckDBValue): string | null {
  if (value instanceof DuckDBTimestampTZValue) return rfc3339(value.micros, 'Z')
  if (value instanceof DuckDBTimestampValue) return rfc3339(value.micros, '')
  if (value instanceof DuckDBTimestampMillisecondsValue) return rfc3339(value.millis * 1000n, '')
  if (value instanceof DuckDBTimestampSecondsValue) return rfc3339(value.seconds * 1_000_000n, '')
  if (value instanceof DuckDBTimestampNanosecondsValue || value instanceof DuckDBDateValue) return value.toString().replace(' ', 'T')
  return null
}

function rfc3339(micros: bigint, zone: string): string {
  const belowMs = ((micros % 1000n) + 1000n) % 1000n
  const date = new Date(Number((micros - belowMs) / 1000n))
  if (Number.isNaN(date.getTime())) return `${micros} us since 1970`
  const [seconds, millis] = date.toISOString().slice(0, -1).split('.')
  const fraction = `${millis}${String(belowMs).padStart(3, '0')}`.replace(/0+$/, '')
  return `${seconds}${fraction === '' ? '' : `.${fraction}`}${zone}`
}

/** DuckDB's type of the values of a column. */
export function sqlType(type: ColumnType): string {
  switch (type) {
    case 'string':
      return 'VARCHAR'
    case 'bytes':
      return 'BLOB'
    case 'timestamp':
      return 'TIMESTAMPTZ'
    case 'double':
    case 'bigint':
    case 'integer':
    case 'boolean':
      return type.toUpperCase()
    default:
      return type satisfies never
  }
}

const TYPES: Readonly<Record<string, ColumnType>> = {
  VARCHAR: 'string',
  BLOB: 'bytes',
  DOUBLE: 'double',
  BIGINT: 'bigint',
  INTEGER: 'integer',
  BOOLEAN: 'boolean',
  'TIMESTAMP WITH TIME ZONE': 'timestamp'
}

/** A column of a file of the archive, by its row of DuckDB's DESCRIBE: name, type. */
export function describedColumn([name, type]: readonly DuckDBValue[]): ColumnSpec {
  const known = TYPES[String(type)]
  if (known === undefined) throw new Error(`a file of the archive has a column ${name} of type ${type}, which no layer has`)
  return { name: String(name), type: known }
}
