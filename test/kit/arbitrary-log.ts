/** Logs with everything in them: batches, JSON, duplicates, poison, tombstones, ticks, downtime, drains, requeues, changes of settings and profiles. */
import { profileSchema } from '@tidemark/protocol'
import fc from 'fast-check'
import { encodeControl, type Settings } from '../../gateway/src/processor/control.js'
import { EVERYTHING } from './expect-features.js'
import type { Row } from './flush-rows.js'
import { requeueFrames } from './requeues.js'
import { at, type FrameSpec, PUMP, SETTINGS, type Timeline } from './timeline.js'

/** Small numbers, so that a short log reaches every limit. */
const TIGHT: Settings = {
  ...SETTINGS,
  flushIntervalMs: 30_000,
  flushRows: 60,
  smallHourRows: 8,
  smallHourWaitMs: 90_000,
  snapshotEvery: 2,
  idleTimeoutMs: 60_000,
  gapTimeoutMs: 30_000,
  allowedLatenessMs: 120_000,
  correctionIntervalMs: 20_000,
  devicesMax: 4,
  eventIdBytesMax: 600
}

const PUMP_2 = profileSchema.parse({ ...PUMP, version: 2, evolution: 'flexible', metrics: [...PUMP.metrics, { name: 'noise' }] })
const PROFILE_SETS = [[PUMP, EVERYTHING], [PUMP], [PUMP, PUMP_2, EVERYTHING], [PUMP_2]]

const device = fc.constantFrom('pump-1', 'pump-2', 'pump-3', 'pump-4', 'pump-5')
const batch = fc.record({
  type: fc.constant('batch' as const),
  device,
  epoch: fc.constantFrom(1, 1, 1, 2),
  profile: fc.constantFrom(PUMP, PUMP, EVERYTHING, PUMP_2),
  first: fc.integer({ min: 1, max: 60 }),
  steps: fc.array(fc.constantFrom(1, 1, 1, 2, 5), { maxLength: 8 }),
  held: fc.constantFrom(0, 10, 60),
  /** Whether the seqs are those of another life of the buffer, which came later. */
  isReused: fc.constantFrom(false, false, false, false, true),
  isPoison: fc.constantFrom(false, false, false, true),
  tombstone: fc.option(
    fc.record({ firstSeq: fc.integer({ min: 1, max: 40 }), length: fc.integer({ min: 0, max: 20 }), keepEvery: fc.constantFrom(0, 2, 3) }),
    {
      freq: 4
    }
  ),
  ends: fc.constantFrom(false, false, false, true),
  cut: fc.constantFrom(0, 0, 0, 0, 0, 3, 40)
})
const json = fc.record({
  type: fc.constant('json' as const),
  device,
  ids: fc.array(fc.constantFrom('a', 'b', 'c', 'd', 'e', 'f'), { minLength: 1, maxLength: 4 }),
  minute: fc.integer({ min: 0, max: 75 })
})
const step = fc.oneof(
  { weight: 8, arbitrary: batch },
  { weight: 3, arbitrary: json },
  { weight: 4, arbitrary: fc.record({ type: fc.constant('tick' as const), seconds: fc.constantFrom(1, 5, 31, 100) }) },
  {
    weight: 1,
    arbitrary: fc.record({
      type: fc.constant('start' as const),
      downMs: fc.integer({ min: 0, max: 10_000_000 }),
      smallHourRows: fc.constantFrom(TIGHT.smallHourRows, TIGHT.smallHourRows, 3, 40),
      profiles: fc.constantFrom(...PROFILE_SETS)
    })
  },
  { weight: 1, arbitrary: fc.record({ type: fc.constantFrom('drain' as const, 'repair' as const) }) },
  {
    weight: 2,
    arbitrary: fc.record({
      type: fc.constant('requeue' as const),
      /** Flushes that the run does not see yet. */
      behind: fc.constantFrom(0, 0, 0, 1, 2),
      /** Only rows of an entry divisible by it. */
      every: fc.constantFrom(1, 1, 2),
      /** Where the run is cut off. */
      framesMax: fc.constantFrom(1000, 1000, 1),
      /** Whether the frames of the run before come once more, ahead of its own. */
      repeats: fc.constantFrom(false, false, true)
    })
  },
  {
    weight: 1,
    arbitrary: fc.record({
      type: fc.constant('set' as const),
      device,
      settings: fc.constantFrom({ retired: true }, { retired: false }, { profile: 'pump' }, { profile: null, site: 'hall 1' })
    })
  },
  {
    weight: 1,
    arbitrary: fc.record({ type: fc.constant('status' as const), device, session: fc.constantFrom('a', 'b'), online: fc.boolean() })
  },
  {
    weight: 1,
    arbitrary: fc.record({ type: fc.constant('together' as const), parts: fc.array(fc.oneof(batch, json), { minLength: 2, maxLength: 4 }) })
  }
)

type Made<T> = T extends fc.Arbitrary<infer Value> ? Value : never
export type Step = Made<typeof step>
export const log: fc.Arbitrary<Step[]> = fc.array(step, { minLength: 10, maxLength: 60, size: 'max' })

export function writeLog(t: Timeline, steps: readonly Step[]): void {
  t.start(TIGHT, PROFILE_SETS[0])
  let before: FrameSpec[] = []
  for (const each of steps) {
    switch (each.type) {
      case 'batch':
      case 'json':
        t.append(frameOf(t, each))
        break
      case 'together':
        t.append(...each.parts.map(part => frameOf(t, part)), { kind: 'status', device: 'pump-1', payload: new Uint8Array([7]) })
        break
      case 'tick':
        t.tick(each.seconds * 1000)
        break
      case 'start':
        t.leap(each.downMs)
        t.append({
          kind: 'control',
          payload: encodeControl({ control: 'start', settings: { ...TIGHT, smallHourRows: each.smallHourRows }, profiles: each.profiles })
        })
        break
      case 'drain':
        t.drain()
        break
      case 'set':
        t.set(each.device, each.settings)
        break
      case 'status':
        if (each.online) t.status({ state: 'online', session: each.session, epoch: 1, agent: '0.1.0', profiles: [] }, each.device)
        else t.status({ state: 'offline', session: each.session }, each.device)
        break
      case 'requeue': {
        const committed = t.flushes.slice(0, Math.max(0, t.flushes.length - each.behind))
        const isMeant = ({ entry }: Row) => (entry as number) % each.every === 0
        const frames = requeueFrames(`run ${t.entries.length}`, committed, isMeant).slice(0, each.framesMax)
        const all = each.repeats ? [...before, ...frames] : frames
        if (all.length > 0) t.append(...all)
        before = frames
        break
      }
      case 'repair':
        t.append({ kind: 'control', payload: encodeControl({ control: 'repair' }) })
        break
      default:
        each satisfies never
    }
  }
  t.tick(61_000)
  t.drain()
}

function frameOf(t: Timeline, part: Made<typeof batch> | Made<typeof json>): FrameSpec {
  if (part.type === 'json') {
    const readings = part.ids.map(id => ({
      event_id: id,
      event_time: at('13:00') + part.minute * 60_000,
      ...(part.minute % 3 > 0 && { profile: 'pump' }),
      temperature: 20 + part.minute
    }))
    return { kind: 'json', device: part.device, payload: new TextEncoder().encode(JSON.stringify(readings)) }
  }
  const { profile, epoch, first, steps, held, isReused, isPoison, tombstone, ends, cut } = part
  const seqs = [first]
  for (const each of steps) seqs.push(seqs[seqs.length - 1] + each)
  const highest = Math.max(60, seqs[seqs.length - 1])
  const payload = t.encode({
    device: part.device,
    profile,
    epoch,
    oldestHeldSeq: Math.max(1, first - held),
    highestSampledSeq: highest,
    readings: seqs.map(seq => ({
      seq,
      eventTimeMs: at('13:00') + epoch * 600_000 + seq * 20_000 - (seq % 7 === 0 ? 1_500_000 : 0) + (isReused ? 3_000_000 : 0),
      values:
        profile === EVERYTHING
          ? { level: 5 + (seq % 11) / 3, pulses: seq }
          : { temperature: isPoison && seq % 3 === 0 ? 999 : 20 + seq / 7, place: `p${seq % 3}` }
    })),
    tombstones:
      tombstone === null
        ? []
        : [{ firstSeq: tombstone.firstSeq, lastSeq: tombstone.firstSeq + tombstone.length, keepEvery: tombstone.keepEvery }],
    ...(ends && { endOfStreamSeq: highest })
  })
  return { kind: 'batch', device: part.device, payload: payload.subarray(0, payload.length - cut) }
}
