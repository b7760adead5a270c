/** A golden vector: `NAME.bin` is a payload, `NAME.json` says what a decoder must make of it. */
import { type Batch, type Column, decodeBatch, NULL, PRESENT, type Profile, profileSchema } from '@tidemark/protocol'

/** A number that JSON lacks stands as the string 'NaN', 'Infinity', '-Infinity' or '-0'. */
type JsonValue = null | boolean | number | string | { readonly wrong_type: true }

export interface Vector {
  readonly about: string
  /** The one profile that the decoder knows. */
  readonly profile: Profile
  /** null where the payload is no batch. */
  readonly decoded: object | null
}

/** What `NAME.json` must hold for a payload; a plain object, the same after a trip through JSON. */
export function describePayload(about: string, profile: Profile, payload: Uint8Array): Vector {
  const batch = decodeBatch(payload, (name, version) => {
    if (name !== profile.name) return 'unknown-profile'
    return version === profile.version ? profile : 'unknown-profile-version'
  })
  return { about, profile: profileSchema.parse(profile), decoded: batch === null ? null : describeBatch(batch, profile) }
}

function describeBatch(batch: Batch, profile: Profile): object {
  const { header } = batch
  return {
    profile: header.profile,
    profile_version: header.profileVersion,
    epoch: header.epoch,
    oldest_held_seq: header.oldestHeldSeq,
    highest_sampled_seq: header.highestSampledSeq,
    buffered: header.buffered,
    seqs: [...header.seqs],
    reject: batch.reject,
    event_times_ms: batch.eventTimesMs === null ? null : [...batch.eventTimesMs],
    columns: Object.fromEntries(
      batch.columns.map((column, m) => [profile.metrics[m].name, describeColumn(column, profile.metrics[m].type)])
    ),
    tombstones: batch.tombstones.map(t => ({ first_seq: t.firstSeq, last_seq: t.lastSeq, keep_every: t.keepEvery, reason: t.reason })),
    clock: batch.clock,
    end_of_stream_seq: batch.endOfStreamSeq,
    extra: Object.fromEntries(batch.extra.map(({ name, values }) => [name, values]))
  }
}

function describeColumn({ values, state }: Column, type: string): JsonValue[] {
  return Array.from(values as ArrayLike<number | string>, (value, i) => {
    const code = state === null ? PRESENT : state[i]
    if (code !== PRESENT) return code === NULL ? null : { wrong_type: true }
    if (typeof value === 'string') return value
    if (type === 'bool') return value !== 0
    return Number.isFinite(value) && !Object.is(value, -0) ? value : Object.is(value, -0) ? '-0' : String(value)
  })
}
