import { type Profile, profileDigest, profileSchema } from '@tidemark/protocol'
import type { Database } from './sqlite.js'

export interface ProfileRow {
  readonly id: number
  readonly digest: string
  /** JSON. */
  readonly profile: string
}

/** The profile of a row; null where that is damaged. */
export function profileOf({ digest, profile }: Omit<ProfileRow, 'id'>): Profile | null {
  const parsed = profileSchema.safeParse(jsonOf(profile))
  return parsed.success && profileDigest(parsed.data) === digest ? parsed.data : null
}

/** The profiles that readings in the buffer were sampled with; a changed configuration must not change what is held. */
export class ProfileStore {
  private readonly profiles = new Map<number, Profile>()
  private readonly ids = new Map<Profile, number>()

  constructor(private readonly database: Database) {}

  /** In a commit: the ID of a profile, which is stored where it is new. */
  idOf(profile: Profile): number {
    const known = this.ids.get(profile)
    if (known !== undefined) return known
    const digest = profileDigest(profile)
    const insert = this.database.prepare('INSERT INTO profiles (digest, profile) VALUES (?, ?) ON CONFLICT DO NOTHING')
    insert.run(digest, JSON.stringify(profile))
    const id = this.database.prepare<[string], number>('SELECT id FROM profiles WHERE digest = ?').pluck().get(digest)!
    this.ids.set(profile, id)
    return id
  }

  /** A commit failed: what it stored is not there. */
  forget(): void {
    this.ids.clear()
  }

  /** null where it is not there, or damaged. */
  byId(id: number): Profile | null {
    const known = this.profiles.get(id)
    if (known !== undefined) return known
    const row = this.database.prepare<[number], ProfileRow>('SELECT id, digest, profile FROM profiles WHERE id = ?').get(id)
    const profile = row === undefined ? null : profileOf(row)
    if (profile !== null) this.profiles.set(id, profile)
    return profile
  }
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return null
  }
}
