import { type Profile, profileDigest, profileSchema } from '@tidemark/protocol'
import type { Database } from './sqlite.js'

/** The profiles that readings in the buffer were sampled with; a changed configuration must not change what is held. */
export class ProfileStore {
  private readonly profiles = new Map<number, Profile>()
  private readonly ids = new Map<Profile, number>()

  constructor(private readonly database: Database) {}

  /** The ID of a profile; `commit` is given what stores it where it is new. */
  idOf(profile: Profile, commit: (insert: () => void) => void): number {
    const known = this.ids.get(profile)
    if (known !== undefined) return known
    const digest = profileDigest(profile)
    const insert = this.database.prepare('INSERT INTO profiles (digest, profile) VALUES (?, ?) ON CONFLICT DO NOTHING')
    commit(() => insert.run(digest, JSON.stringify(profile)))
    const id = this.database.prepare<[string], number>('SELECT id FROM profiles WHERE digest = ?').pluck().get(digest)!
    this.ids.set(profile, id)
    return id
  }

  byId(id: number): Profile {
    const known = this.profiles.get(id)
    if (known !== undefined) return known
    const text = this.database.prepare<[number], string>('SELECT profile FROM profiles WHERE id = ?').pluck().get(id)!
    const profile = profileSchema.parse(JSON.parse(text))
    this.profiles.set(id, profile)
    return profile
  }
}
