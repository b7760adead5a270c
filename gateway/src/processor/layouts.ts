/** The columns of the archive's layers, in their order (DESIGN: archive). */
import { type Metric, type Profile, profileDigest } from '@tidemark/protocol'
import type { Plan } from './feature-plan.js'
import type { Layer } from './flush.js'
import type { ColumnSpec, RowLayout } from './rows.js'

/** What the files of a layer are sorted by: so that any file of it can be merged with another. */
export const SORT_BY = {
  raw: ['entry', 'frame_index'],
  processed: ['device_id', 'event_time', 'epoch', 'seq', 'event_id'],
  curated: ['device_id', 'as_of', 'revision'],
  quarantine: ['device_id', 'entry', 'frame_index', 'seq'],
  resolved: ['device_id', 'entry', 'frame_index', 'seq', 'event_id']
} as const satisfies Record<Layer, readonly string[]>

/** Places of the columns that every row of readings begins with; the metrics follow, and `extra` at the end. */
export const READING = {
  device: 0,
  eventTime: 1,
  ingestTime: 2,
  epoch: 3,
  seq: 4,
  eventId: 5,
  late: 6,
  clock: 7,
  profileVersion: 8,
  metrics: 9
} as const

export function readingsLayout(profile: Profile): RowLayout {
  return {
    id: `processed/${profile.name}@${profile.version}/${profileDigest(profile)}`,
    layer: 'processed',
    profile: profile.name,
    profileVersion: profile.version,
    sortBy: SORT_BY.processed,
    columns: [
      { name: 'device_id', type: 'string' },
      { name: 'event_time', type: 'timestamp' },
      { name: 'ingest_time', type: 'timestamp' },
      { name: 'epoch', type: 'bigint' },
      { name: 'seq', type: 'bigint' },
      { name: 'event_id', type: 'string' },
      { name: 'late', type: 'boolean' },
      { name: 'clock', type: 'string' },
      { name: 'profile_version', type: 'integer' },
      ...profile.metrics.map(metric => ({ name: metric.name, type: columnType(metric) })),
      { name: 'extra', type: 'string' }
    ]
  }
}

/** Places of the columns that every feature row begins with; features and flags follow. */
export const FEATURE = {
  device: 0,
  asOf: 1,
  knownAt: 2,
  computedAt: 3,
  revision: 4,
  provisional: 5,
  eventCount: 6,
  coverage: 7,
  processorVersion: 8,
  features: 9
} as const

export function featuresLayout({ profile }: Plan): RowLayout {
  return {
    id: `curated/${profile.name}@${profile.version}/${profileDigest(profile)}`,
    layer: 'curated',
    profile: profile.name,
    profileVersion: profile.version,
    sortBy: SORT_BY.curated,
    columns: [
      { name: 'device_id', type: 'string' },
      { name: 'as_of', type: 'timestamp' },
      { name: 'known_at', type: 'timestamp' },
      { name: 'computed_at', type: 'timestamp' },
      { name: 'revision', type: 'integer' },
      { name: 'provisional', type: 'boolean' },
      { name: 'event_count', type: 'bigint' },
      { name: 'coverage', type: 'double' },
      { name: 'processor_version', type: 'integer' },
      ...profile.features.map((feature): ColumnSpec => ({ name: feature.name, type: feature.aggregate === 'count' ? 'bigint' : 'double' })),
      ...profile.flags.map((flag): ColumnSpec => ({ name: flag.name, type: 'boolean' }))
    ]
  }
}

export const QUARANTINE = {
  device: 0,
  ingestTime: 1,
  entry: 2,
  frameIndex: 3,
  kind: 4,
  reason: 5,
  detail: 6,
  accounted: 7,
  profile: 8,
  eventTime: 9,
  epoch: 10,
  seq: 11,
  eventId: 12,
  payload: 13
} as const

export const QUARANTINE_LAYOUT: RowLayout = {
  id: 'quarantine',
  layer: 'quarantine',
  profile: null,
  profileVersion: null,
  sortBy: SORT_BY.quarantine,
  columns: [
    { name: 'device_id', type: 'string' },
    { name: 'ingest_time', type: 'timestamp' },
    { name: 'entry', type: 'bigint' },
    { name: 'frame_index', type: 'integer' },
    { name: 'kind', type: 'string' },
    { name: 'reason', type: 'string' },
    { name: 'detail', type: 'string' },
    { name: 'accounted', type: 'boolean' },
    { name: 'profile', type: 'string' },
    { name: 'event_time', type: 'timestamp' },
    { name: 'epoch', type: 'bigint' },
    { name: 'seq', type: 'bigint' },
    { name: 'event_id', type: 'string' },
    { name: 'payload', type: 'bytes' }
  ]
}

/** Rows of the quarantine that have found another fate. Each names one, by its offset and event ID; a message as a whole has none. */
export const RESOLVED = { device: 0, ingestTime: 1, entry: 2, frameIndex: 3, epoch: 4, seq: 5, eventId: 6, requeueEntry: 7 } as const

export const RESOLVED_LAYOUT: RowLayout = {
  id: 'resolved',
  layer: 'resolved',
  profile: null,
  profileVersion: null,
  sortBy: SORT_BY.resolved,
  columns: [
    { name: 'device_id', type: 'string' },
    { name: 'ingest_time', type: 'timestamp' },
    { name: 'entry', type: 'bigint' },
    { name: 'frame_index', type: 'integer' },
    { name: 'epoch', type: 'bigint' },
    { name: 'seq', type: 'bigint' },
    { name: 'event_id', type: 'string' },
    { name: 'requeue_entry', type: 'bigint' }
  ]
}

function columnType(metric: Metric): ColumnSpec['type'] {
  switch (metric.type) {
    case 'float':
      return 'double'
    case 'int':
      return 'bigint'
    case 'bool':
      return 'boolean'
    case 'string':
      return 'string'
    default:
      return metric.type satisfies never
  }
}
