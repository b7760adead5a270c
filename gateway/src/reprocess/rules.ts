/**
 * By which profiles each entry of a replay is judged: those of the last start, as the log has it, with those of every reprocessing that
 * covers the entry in the place of the same name and version. Pure.
 */
import type { Profile } from '@tidemark/protocol'
import { decodeControl, encodeControl } from '../processor/control.js'

/** Entries that are judged anew; both included. */
export interface Override {
  readonly firstEntry: number
  readonly lastEntry: number
  readonly profiles: readonly Profile[]
}

/** Profiles with others beside them, which come in the place of those of the same name and version. */
export function withOverride(profiles: readonly Profile[], override: readonly Profile[]): Profile[] {
  const keyOf = ({ name, version }: Profile) => `${name}@${version}`
  const replaced = new Set(override.map(keyOf))
  return [...profiles.filter(profile => !replaced.has(keyOf(profile))), ...override]
}

export class Rules {
  /** Names of profiles whose features are others under the last override than without it, at some entry that it covers. */
  readonly featuresChanged = new Set<string>()
  private active: readonly Override[]

  /**
   * `started`: the profiles of the last start at or before `entry`, behind which the replay begins; null: those that are in force there,
   * which `beginWith` is to tell. Those of `overrides` that cover `entry` are in force already.
   */
  constructor(
    private readonly overrides: readonly Override[],
    private started: readonly Profile[] | null,
    entry: number
  ) {
    this.active = overrides.filter(override => covers(override, entry))
  }

  beginWith(inForce: readonly Profile[]): void {
    this.started ??= inForce
  }

  /** To be asked for each entry in turn: the profiles that come in force with it, other than by a start; null: they stay. */
  enter(entry: number): Profile[] | null {
    const active = this.overrides.filter(override => covers(override, entry))
    const isSame = active.length === this.active.length && active.every((override, i) => override === this.active[i])
    this.active = active
    if (isSame) return null
    this.noteFeatures()
    return this.inForce()
  }

  /** A control frame of the entry that was entered last, as it is to be applied. */
  control(payload: Uint8Array): Uint8Array {
    const control = decodeControl(payload)
    if (control.control !== 'start') return payload
    this.started = control.profiles
    this.noteFeatures()
    return this.active.length === 0 ? payload : encodeControl({ ...control, profiles: this.inForce() })
  }

  /** The profiles of the last start; null where others are in force. */
  get baseOfOthers(): readonly Profile[] | null {
    return this.active.length === 0 ? null : this.base
  }

  /** The profiles of the last start. */
  get lastStarted(): readonly Profile[] {
    return this.base
  }

  private get base(): readonly Profile[] {
    return this.started ?? []
  }

  private inForce(active = this.active): Profile[] {
    return active.reduce<Profile[]>((profiles, override) => withOverride(profiles, override.profiles), [...this.base])
  }

  private noteFeatures(): void {
    const last = this.overrides[this.overrides.length - 1]
    if (last === undefined || this.active[this.active.length - 1] !== last) return
    const without = latestByName(this.inForce(this.active.slice(0, -1)))
    const others = latestByName(this.inForce())
    for (const [name, profile] of without)
      if (featuresOf(profile) !== featuresOf(others.get(name) ?? profile)) this.featuresChanged.add(name)
  }
}

/** The latest version of each profile; of those of the same name the later one. */
export function latestByName(profiles: readonly Profile[]): Map<string, Profile> {
  const latest = new Map<string, Profile>()
  for (const profile of profiles) {
    const known = latest.get(profile.name)
    if (known === undefined || profile.version >= known.version) latest.set(profile.name, profile)
  }
  return latest
}

/** All that makes a profile's feature rows what they are, beside the readings. */
function featuresOf({ features, flags, hop, interval }: Profile): string {
  return JSON.stringify([features, flags, hop, interval])
}

function covers({ firstEntry, lastEntry }: Override, entry: number): boolean {
  return entry >= firstEntry && entry <= lastEntry
}
