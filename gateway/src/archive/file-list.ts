/** Which files of a layer and of some hours the archive consists of, and up to which entry: read in one state of the catalog, beside its writers. */
import { type Database, Sqlite } from '../sqlite.js'
import { type CatalogFile, FILE_COLUMNS } from './catalog.js'

/** Hours by their starts, Unix ms, both included. */
export interface HourRange {
  readonly fromMs: number
  readonly throughMs: number
}

export interface ListedFiles {
  readonly committedEntry: number
  /** Names of all profiles that the layer has files of, by name. */
  readonly profiles: readonly string[]
  readonly files: readonly CatalogFile[]
}

export class FileList {
  private readonly database: Database
  private readonly committed
  private readonly profiles
  private readonly files

  /** Throws where there is no catalog. */
  constructor(path: string) {
    this.database = new Sqlite(path, { readonly: true, fileMustExist: true })
    this.committed = this.database.prepare<[], { entry: number | null }>('SELECT max(last_entry) AS entry FROM flushes WHERE shard = 0')
    this.profiles = this.database.prepare<[string], { profile: string }>(
      'SELECT DISTINCT profile FROM files WHERE layer = ? AND profile IS NOT NULL ORDER BY profile'
    )
    this.files = this.database.prepare<[string, string, number, number], CatalogFile>(
      `SELECT ${FILE_COLUMNS} FROM files WHERE layer = ? AND profile = ? AND hour_ms BETWEEN ? AND ? ORDER BY hour_ms, path`
    )
  }

  /** `profile` null: of all. `hours` do not overlap. */
  read(layer: 'processed' | 'curated', profile: string | null, hours: readonly HourRange[]): ListedFiles {
    const read = () => {
      const profiles = this.profiles.all(layer).map(row => row.profile)
      const files = profiles
        .filter(name => profile === null || name === profile)
        .flatMap(name => hours.flatMap(({ fromMs, throughMs }) => this.files.all(layer, name, fromMs, throughMs)))
      return { committedEntry: this.committed.get()?.entry ?? 0, profiles, files }
    }
    return this.database.transaction(read).deferred()
  }

  close(): void {
    this.database.close()
  }
}
