/**
 * Reads the batches that nearly all are, fast: known profile, every value of its type, nothing but readings in it. Straight from
 * the bytes into arrays that the next batch overwrites, so that a reading costs no object.
 *
 * Invariant: where `read` answers true, `decodeBatch` of the same payload gives the same batch, with a null `reject`, no
 * tombstone, no extra field and no end of stream. Where it answers false, that payload is for `decodeBatch`: perhaps sound all
 * the same, in a form that is rare.
 */
import { BATCH_VERSION, type ClockQuality } from './batch.js'
import type { ProfileLookup } from './batch-decode.js'
import { isTime } from './batch-parts.js'
import { INTEGER_MAX, NAME_LENGTH_MAX, PAYLOAD_BYTES_MAX, READINGS_PER_BATCH_MAX, STRING_BYTES_MAX } from './limits.js'
import { decimalsOf, type Profile } from './profile.js'
import { isText, TextCache } from './text-cache.js'

const NIL = 0xc0
const FALSE = 0xc2
const TRUE = 0xc3
const FLOAT64 = 0xcb
const TWO_32 = 2 ** 32

/** How a metric travels: scaled integers (10^k), or one of the negative codes. */
const FLOATS = -1
const BOOLEANS = -2
const TEXTS = -3

export class PlainBatch {
  profile!: Profile
  epoch = 0
  oldestHeldSeq = 0
  highestSampledSeq = 0
  /** At least 1. What lies behind so many elements of the arrays below is of earlier batches. */
  count = 0
  clock: ClockQuality = 'synced'
  readonly seqs = new Float64Array(READINGS_PER_BATCH_MAX)
  readonly eventTimesMs = new Float64Array(READINGS_PER_BATCH_MAX)
  /**
   * `count` values a metric, metric behind metric in the profile's order: finite numbers (booleans: 0, 1), NaN for null; without
   * meaning for a string.
   */
  values = new Float64Array(0)
  /** One a metric: the strings of a metric of that type. */
  readonly texts: (string | null)[][] = []
  private readonly cache = new TextCache()
  private forms: readonly number[] = []
  private formsOf: Profile | null = null
  private bytes: Uint8Array = new Uint8Array(0)
  private view = new DataView(this.bytes.buffer)
  private at = 0
  private end = 0

  /** Reads the payload in `bytes` at [start, end). Total, in bounded time. */
  read(bytes: Uint8Array, start: number, end: number, profileOf: ProfileLookup): boolean {
    if (end - start > PAYLOAD_BYTES_MAX) return false
    if (bytes !== this.bytes) {
      this.bytes = bytes
      this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    }
    this.at = start
    this.end = end
    // `at` only rises, so that whatever was read beyond the end is found out here
    return this.readHeader(profileOf) && this.readBody() && this.at === end
  }

  private readHeader(profileOf: ProfileLookup): boolean {
    const elements = this.arrayHead()
    if ((elements !== 10 && elements !== 11) || this.integer() !== BATCH_VERSION) return false
    const name = this.profileName()
    const version = this.integer()
    this.epoch = this.integer()
    const held = this.integer()
    const sampled = this.integer()
    const buffered = this.integer()
    const firstSeq = this.integer()
    const baseMs = this.integer()
    this.count = this.integer()
    if (name === null || !(version >= 1 && this.epoch >= 1 && firstSeq >= 1 && held >= 0 && held < firstSeq && sampled >= 0)) return false
    if (!(buffered >= 0 && isTime(baseMs) && this.count >= 1 && this.count <= READINGS_PER_BATCH_MAX)) return false
    this.oldestHeldSeq = firstSeq - held
    this.highestSampledSeq = firstSeq + sampled - 1
    this.eventTimesMs[0] = baseMs
    if (!this.readSeqs(firstSeq, elements === 11) || this.seqs[this.count - 1] > this.highestSampledSeq) return false
    if (this.highestSampledSeq > INTEGER_MAX) return false
    const profile = profileOf(name, version)
    if (typeof profile === 'string') return false
    this.profile = profile
    return true
  }

  /** The name is mostly that of the batch before. */
  private profileName(): string | null {
    const { bytes, at, formsOf } = this
    const length = bytes[at] & 0x1f
    if (formsOf !== null && (bytes[at] & 0xe0) === 0xa0 && isText(formsOf.name, bytes, at + 1, length)) {
      this.at += 1 + length
      return formsOf.name
    }
    return this.text(NAME_LENGTH_MAX)
  }

  private readSeqs(firstSeq: number, hasSteps: boolean): boolean {
    const { seqs, count } = this
    seqs[0] = firstSeq
    if (!hasSteps) {
      for (let i = 1; i < count; i++) seqs[i] = firstSeq + i
      return true // that none is too large follows from the highest sampled
    }
    if (this.arrayHead() !== count - 1) return false
    for (let i = 1; i < count; i++) {
      const step = this.integer()
      if (!(step >= 1)) return false
      seqs[i] = seqs[i - 1] + step
      if (seqs[i] > INTEGER_MAX) return false
    }
    return true
  }

  private readBody(): boolean {
    const parts = this.arrayHead()
    if (parts < 2 || parts > 6 || !this.readTimes()) return false
    const { metrics } = this.profile
    if (this.arrayHead() !== metrics.length) return false
    this.makeRoom(this.profile)
    for (let m = 0; m < metrics.length; m++) if (!this.readColumn(m)) return false
    this.clock = 'synced'
    for (let part = 2; part < parts; part++) {
      const byte = this.bytes[this.at++]
      if (byte === NIL || (part === 3 && byte === 0)) continue
      if (part !== 3 || byte !== 1) return false
      this.clock = 'estimated'
    }
    return true
  }

  private readTimes(): boolean {
    const { eventTimesMs, count } = this
    const steps = this.arrayHead()
    const each = steps < 0 ? this.integer() : 0
    if (steps < 0 ? Number.isNaN(each) : steps !== count - 1) return false
    for (let i = 1; i < count; i++) {
      eventTimesMs[i] = eventTimesMs[i - 1] + (steps < 0 ? each : this.integer())
      if (!isTime(eventTimesMs[i])) return false
    }
    return true
  }

  /** Makes room for batches of the profile, for whoever writes one into it. */
  makeRoom(profile: Profile): void {
    if (this.formsOf === profile) return
    const { metrics } = profile
    this.formsOf = profile
    this.forms = metrics.map(metric => {
      const decimals = decimalsOf(metric)
      if (decimals !== null) return 10 ** decimals
      return metric.type === 'bool' ? BOOLEANS : metric.type === 'string' ? TEXTS : FLOATS
    })
    if (this.values.length < metrics.length * READINGS_PER_BATCH_MAX)
      this.values = new Float64Array(metrics.length * READINGS_PER_BATCH_MAX)
    while (this.texts.length < metrics.length) this.texts.push([])
  }

  private readColumn(m: number): boolean {
    const form = this.forms[m]
    const first = m * this.count
    if (form === TEXTS) return this.readTexts(this.texts[m])
    if (this.bytes[this.at] === NIL) {
      this.at++
      return this.fill(first, Number.NaN)
    }
    if (form > 0) return this.readScaled(first, form)
    return form === FLOATS ? this.readFloats(first) : this.readBooleans(first)
  }

  /** Always true, for the caller to return. */
  private fill(first: number, value: number): boolean {
    const { values, count } = this
    for (let i = 0; i < count; i++) values[first + i] = value
    return true
  }

  private readScaled(first: number, scale: number): boolean {
    const { bytes, values, count } = this
    const elements = this.arrayHead()
    if (elements < 0) {
      const scaled = this.integer()
      return !Number.isNaN(scaled) && this.fill(first, scaled / scale)
    }
    if (elements !== count) return false
    let sum = 0
    let { at } = this
    for (let i = first; i < first + count; i++) {
      const head = bytes[at]
      if (head <= 0x7f || head >= 0xe0) {
        at++
        sum += (head << 24) >> 24
      } else if (head === NIL) {
        at++
        values[i] = Number.NaN
        continue
      } else {
        this.at = at
        sum += this.integer()
        at = this.at
      }
      if (!(sum <= INTEGER_MAX && sum >= -INTEGER_MAX)) return false
      values[i] = sum / scale
    }
    this.at = at
    return true
  }

  private readFloats(first: number): boolean {
    const { bytes, view, values, count } = this
    const head = bytes[this.at]
    if (head === FLOAT64) {
      if (this.at + 9 > this.end) return false
      const value = view.getFloat64(this.at + 1)
      this.at += 9
      return Number.isFinite(value) && this.fill(first, value)
    }
    if (head !== 0xc4 && head !== 0xc5) {
      const value = this.integer()
      return !Number.isNaN(value) && this.fill(first, value)
    }
    const length = head === 0xc4 ? bytes[this.at + 1] : bytes[this.at + 1] * 256 + bytes[this.at + 2]
    this.at += head === 0xc4 ? 2 : 3
    if (length !== 8 * count || this.at + length > this.end) return false
    for (let i = 0; i < count; i++) {
      values[first + i] = view.getFloat64(this.at + i * 8, true)
      if (!Number.isFinite(values[first + i])) return false
    }
    this.at += length
    return true
  }

  private readBooleans(first: number): boolean {
    const { bytes, values, count } = this
    const elements = this.arrayHead()
    if (elements < 0) {
      const byte = bytes[this.at++]
      return (byte === TRUE || byte === FALSE) && this.fill(first, byte - FALSE)
    }
    if (elements !== count) return false
    for (let i = 0; i < count; i++) {
      const byte = bytes[this.at++]
      if (byte !== NIL && byte !== TRUE && byte !== FALSE) return false
      values[first + i] = byte === NIL ? Number.NaN : byte - FALSE
    }
    return true
  }

  private readTexts(texts: (string | null)[]): boolean {
    const { bytes, count } = this
    const elements = this.arrayHead()
    if (elements >= 0 && elements !== count) return false
    for (let i = 0; i < count; i++) {
      if (elements < 0 && i > 0) texts[i] = texts[0]
      else if (bytes[this.at] === NIL) {
        this.at++
        texts[i] = null
      } else {
        const text = this.text(STRING_BYTES_MAX)
        if (text === null) return false
        texts[i] = text
      }
    }
    return true
  }

  /** The elements of the array that begins here, -1 where none does; one longer than a batch is taken for none. */
  private arrayHead(): number {
    const { bytes, at } = this
    const head = bytes[at]
    if ((head & 0xf0) === 0x90) {
      this.at++
      return head & 0x0f
    }
    if (head !== 0xdc) return -1
    const elements = bytes[at + 1] * 256 + bytes[at + 2]
    if (elements > READINGS_PER_BATCH_MAX) return -1
    this.at += 3
    return elements
  }

  /** A string of ASCII characters; null where none is here. */
  private text(bytesMax: number): string | null {
    const { bytes } = this
    const head = bytes[this.at]
    let length = 0
    if ((head & 0xe0) === 0xa0) {
      length = head & 0x1f
      this.at++
    } else if (head === 0xd9) {
      length = bytes[this.at + 1]
      this.at += 2
    } else return null
    const start = this.at
    this.at += length
    return length <= bytesMax && this.at <= this.end ? this.cache.ascii(bytes, start, length) : null
  }

  /** The integer here, at most 2^53 - 1 in magnitude; NaN where there is none, or one as a float. */
  private integer(): number {
    const { bytes, at } = this
    const head = bytes[at]
    if (head <= 0x7f) {
      this.at++
      return head
    }
    if (head >= 0xe0) {
      this.at++
      return head - 0x100
    }
    switch (head) {
      case 0xcc:
        this.at += 2
        return bytes[at + 1]
      case 0xcd:
        this.at += 3
        return bytes[at + 1] * 256 + bytes[at + 2]
      case 0xce:
        this.at += 5
        return this.uint32(at + 1)
      case 0xd0:
        this.at += 2
        return (bytes[at + 1] << 24) >> 24
      case 0xd1:
        this.at += 3
        return (((bytes[at + 1] << 8) | bytes[at + 2]) << 16) >> 16
      case 0xd2:
        this.at += 5
        return this.uint32(at + 1) | 0
      case 0xcf:
      case 0xd3: {
        this.at += 9
        const high = head === 0xcf ? this.uint32(at + 1) : this.uint32(at + 1) | 0
        const value = high * TWO_32 + this.uint32(at + 5)
        return Number.isSafeInteger(value) ? value : Number.NaN
      }
      default:
        return Number.NaN
    }
  }

  private uint32(at: number): number {
    const { bytes } = this
    return ((bytes[at] << 24) | (bytes[at + 1] << 16) | (bytes[at + 2] << 8) | bytes[at + 3]) >>> 0
  }
}
