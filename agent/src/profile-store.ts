import { type Profile, profileDigest, profileSchema } from '@tidemark/protocol'
import type { Database } from './sqlite.js'

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
    const text = this.database.prepare<[number], string>('SELECT profile FROM profiles WHERE id = ?').pluck().get(id)
    if (text === undefined) return null
    const parsed = profileSchema.safeParse(jsonOf(text))
    if (!parsed.success) return null
    this.profiles.set(id, parsed.data)
    return parsed.data
  }
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return null
  }
}
