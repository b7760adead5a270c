/**
 * Entries of which another thread has read the frames already. A block holds several; a frame is a record of doubles in it: what a
 * plain batch that is sound holds, or of another frame only where it lies. What is the same for many records, block after
 * block, is in tables: devices, profiles and texts by their places.
 *
 * Invariant: a plain record gives the processor what `PlainBatch.read` of the frame would, where that answers true and `isSound` does.
 */
import { type ClockQuality, PlainBatch, type Profile } from '@tidemark/protocol'
import { FrameCursor } from '../log/frames.js'
import type { LogEntry } from '../log/schema.js'
import { decodeControl } from './control.js'
import type { Device } from './device.js'
import { asciiText, DeviceLookup, type Identified } from './device-lookup.js'
import { isSound, type PlainRules, plainRules } from './plain-rules.js'
import type { State } from './state.js'

/** Offsets in a record. Behind the head of a plain one: seqs, event times, then the values of each metric; a text is its place, or -1. */
const NEXT = 0
const FRAME = 1
const COUNT = 2
const OTHER_DOUBLES = 3
const DEVICE = 3
const PROFILE = 4
const EPOCH = 5
const OLDEST_HELD = 6
const HIGHEST_SAMPLED = 7
const CLOCK = 8
const PLAIN_HEAD = 9

const CLOCKS: readonly ClockQuality[] = ['synced', 'estimated']

/** What a table of texts, or of devices, may hold; frames that need more are left to the processor. */
const TEXTS_MAX = 65_536
const DEVICES_MAX = 1_000_000

/** What has been added to the tables. */
export interface TableNews {
  readonly texts: readonly string[]
  readonly profiles: readonly Profile[]
}

interface Numbered extends Identified {
  readonly place: number
}

/** Reads frames ahead of the processor. */
export class EntryDecoder {
  /** The records of the block; another array when they need more room. */
  cells = new Float64Array(0)
  private end = 0
  private readonly plain = new PlainBatch()
  private readonly devices = new DeviceLookup<Numbered>()
  private deviceCount = 0
  private readonly texts = new Map<string, number>()
  private readonly profilePlaces = new Map<Profile, number>()
  private readonly profiles = new Map<string, Profile>()
  /** The profile that was asked for last. */
  private recent: Profile | null = null
  private readonly rules = new Map<Profile, PlainRules>()
  private news: { texts: string[]; profiles: Profile[] } = { texts: [], profiles: [] }

  /** `profiles`: those in force at the first entry. */
  constructor(profiles: readonly Profile[]) {
    this.setProfiles(profiles)
  }

  /** Appends the records of the entry's frames; returns the offsets of the first one, and behind the last. Throws where it is no list of frames. */
  decode({ ingestMs, frames }: LogEntry): { first: number; behind: number } {
    const first = this.end
    const cursor = new FrameCursor(frames)
    for (let frame = 0; cursor.next(); frame = cursor.payloadEnd) {
      const record = this.end
      if (cursor.kind === 'control') this.noteControl(cursor.payload)
      if (cursor.kind !== 'batch' || !this.decodeBatch(cursor, ingestMs)) {
        this.reserve(OTHER_DOUBLES)
        this.cells[record + COUNT] = 0
        this.end = record + OTHER_DOUBLES
      }
      this.cells[record + NEXT] = this.end
      this.cells[record + FRAME] = frame
    }
    return { first, behind: this.end }
  }

  /** Begins another block, in these cells. */
  beginBlock(cells: Float64Array<ArrayBuffer>): void {
    this.cells = cells
    this.end = 0
  }

  /** What has been added to the tables since the last time. */
  takeNews(): TableNews {
    const { news } = this
    this.news = { texts: [], profiles: [] }
    return news
  }

  private decodeBatch({ bytes, idStart, idEnd, payloadStart, payloadEnd }: FrameCursor, ingestMs: number): boolean {
    const { plain } = this
    if (!plain.read(bytes, payloadStart, payloadEnd, this.findProfile)) return false
    const { profile, count, seqs, eventTimesMs, values } = plain
    const rules = this.rules.get(profile)!
    if (!isSound(plain, rules, ingestMs)) return false
    const device = this.placeOfDevice(bytes, idStart, idEnd)
    if (device < 0) return false
    const metrics = rules.isText.length
    this.reserve(PLAIN_HEAD + (2 + metrics) * count)
    const { cells, end: record } = this
    cells[record + COUNT] = count
    cells[record + DEVICE] = device
    cells[record + PROFILE] = this.profilePlaces.get(profile)!
    cells[record + EPOCH] = plain.epoch
    cells[record + OLDEST_HELD] = plain.oldestHeldSeq
    cells[record + HIGHEST_SAMPLED] = plain.highestSampledSeq
    cells[record + CLOCK] = CLOCKS.indexOf(plain.clock)
    let at = record + PLAIN_HEAD
    for (let i = 0; i < count; i++) cells[at++] = seqs[i]
    for (let i = 0; i < count; i++) cells[at++] = eventTimesMs[i]
    for (let i = 0; i < metrics * count; i++) cells[at + i] = values[i]
    for (let m = 0; m < metrics; m++, at += count) if (rules.isText[m] && !this.putTexts(plain.texts[m], count, at)) return false
    this.end = at
    return true
  }

  private readonly findProfile = (name: string, version: number) => {
    const { recent } = this
    if (recent?.name === name && recent.version === version) return recent
    const profile = this.profiles.get(`${name}@${version}`)
    if (profile === undefined) return 'unknown-profile'
    this.recent = profile
    return profile
  }

  private noteControl(payload: Uint8Array): void {
    const control = decodeControl(payload)
    if (control.control === 'start') this.setProfiles(control.profiles)
  }

  private setProfiles(profiles: readonly Profile[]): void {
    this.profiles.clear()
    this.recent = null
    for (const profile of profiles) {
      this.profiles.set(`${profile.name}@${profile.version}`, profile)
      this.rules.set(profile, plainRules(profile))
      this.profilePlaces.set(profile, this.profilePlaces.size)
      this.news.profiles.push(profile)
    }
  }

  /** -1: there are too many. */
  private placeOfDevice(bytes: Uint8Array, start: number, end: number): number {
    const known = this.devices.find(bytes, start, end)
    if (known !== undefined) return known.place
    if (this.deviceCount === DEVICES_MAX) return -1
    const place = this.deviceCount++
    this.devices.add({ deviceId: asciiText(bytes, start, end), place })
    return place
  }

  /** Puts the places of texts into the cells from `at` on; false: there are too many. */
  private putTexts(texts: readonly (string | null)[], count: number, at: number): boolean {
    let place: number | null = null
    for (let i = 0; i < count; i++) {
      if (i === 0 || texts[i] !== texts[i - 1]) place = this.placeOfText(texts[i])
      if (place === null) return false
      this.cells[at + i] = place
    }
    return true
  }

  /** null: there are too many. */
  private placeOfText(text: string | null): number | null {
    if (text === null) return -1
    const known = this.texts.get(text)
    if (known !== undefined) return known
    if (this.texts.size === TEXTS_MAX) return null
    this.news.texts.push(text)
    this.texts.set(text, this.texts.size)
    return this.texts.size - 1
  }

  private reserve(doubles: number): void {
    const needed = this.end + doubles
    if (needed <= this.cells.length) return
    const grown = new Float64Array(Math.max(needed, 2 * this.cells.length))
    grown.set(this.cells)
    this.cells = grown
  }
}

/** The processor's tables. */
export class DecodedTables {
  readonly texts: string[] = []
  readonly profiles: Profile[] = []
  /** Those that have been met. */
  readonly devices: (Device | undefined)[] = []

  add({ texts, profiles }: TableNews): void {
    this.texts.push(...texts)
    this.profiles.push(...profiles)
  }
}

/** The records of an entry. */
export class DecodedEntry {
  constructor(
    private readonly tables: DecodedTables,
    private readonly cells: Float64Array,
    /** Offsets of the first record, and behind the last. */
    readonly first: number,
    readonly behind: number
  ) {}

  next(record: number): number {
    return this.cells[record + NEXT]
  }

  isPlain(record: number): boolean {
    return this.cells[record + COUNT] > 0
  }

  /** Where the record's frame begins in the entry. */
  frameAt(record: number): number {
    return this.cells[record + FRAME]
  }

  /** Puts the plain record into the batch. */
  load(record: number, into: PlainBatch): void {
    const { cells, tables } = this
    const profile = tables.profiles[cells[record + PROFILE]]
    const count = cells[record + COUNT]
    into.makeRoom(profile)
    into.profile = profile
    into.count = count
    into.epoch = cells[record + EPOCH]
    into.oldestHeldSeq = cells[record + OLDEST_HELD]
    into.highestSampledSeq = cells[record + HIGHEST_SAMPLED]
    into.clock = CLOCKS[cells[record + CLOCK]]
    const { seqs, eventTimesMs, values } = into
    let at = record + PLAIN_HEAD
    for (let i = 0; i < count; i++) seqs[i] = cells[at++]
    for (let i = 0; i < count; i++) eventTimesMs[i] = cells[at++]
    const { metrics } = profile
    for (let i = 0; i < metrics.length * count; i++) values[i] = cells[at + i]
    for (let m = 0; m < metrics.length; m++) if (metrics[m].type === 'string') this.loadTexts(at + m * count, count, into.texts[m])
  }

  /** The device of the plain record, as `State.touchDeviceAt` gives it. */
  touchDevice(record: number, frames: Uint8Array, state: State): Device | null {
    const { devices } = this.tables
    const place = this.cells[record + DEVICE]
    const known = place < devices.length ? devices[place] : undefined
    if (known !== undefined) return state.touch(known)
    const idStart = this.frameAt(record) + 2
    const device = state.touchDeviceAt(frames, idStart, idStart + frames[idStart - 1])
    if (device === null) return null
    while (devices.length <= place) devices.push(undefined)
    devices[place] = device
    return device
  }

  /** Puts the devices of records, as far as they are known, into the array; returns how many it looked at. */
  findDevices(into: (Device | undefined)[]): number {
    const { cells, tables } = this
    let count = 0
    for (let record = this.first; record < this.behind && count < into.length; record = cells[record + NEXT])
      into[count++] = this.isPlain(record) ? tables.devices[cells[record + DEVICE]] : undefined
    return count
  }

  private loadTexts(at: number, count: number, into: (string | null)[]): void {
    for (let i = 0; i < count; i++) {
      const place = this.cells[at + i]
      into[i] = place < 0 ? null : this.tables.texts[place]
    }
  }
}
