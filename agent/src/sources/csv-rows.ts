import type { Metric, Profile, Value } from '@tidemark/protocol'
import { readValue } from './csv-value.js'
import { type SourceEntry, type SourceGroup, UNREADABLE } from './source.js'

/** Turns the rows of a recording into entries, and remembers what was wrong with them. */

/** Problems that are told one by one; the rest are only counted. */
const PROBLEMS_PER_GROUP_MAX = 5
const SHOWN_LENGTH_MAX = 40

export class RowCollector {
  private entries: SourceEntry[] = []
  private problems: string[] = []
  private problemCount = 0
  private nulledValues = 0
  private readonly metrics: readonly (readonly [Metric, number])[]

  /** @param columns index of each metric's column, in the profile's order; -1 where it has none */
  constructor(
    profile: Profile,
    columns: readonly number[],
    private readonly decimalMark: '.' | ','
  ) {
    this.metrics = profile.metrics.map((metric, m) => [metric, columns[m]])
  }

  get size(): number {
    return this.entries.length
  }

  add(row: number, fields: readonly string[], eventTimeMs: number): void {
    const values: Value[] = []
    for (const [metric, column] of this.metrics) {
      const text = column < 0 ? '' : fields[column]
      const value = text === undefined ? undefined : readValue(text, metric, this.decimalMark)
      values.push(value ?? null)
      if (value !== undefined) continue
      this.nulledValues++
      this.tell(
        `row ${row}: ${text === undefined ? 'the row ends before' : `"${shorten(text)}" is no ${metric.type}, so null is stored for`} ${metric.name}`
      )
    }
    this.entries.push({ eventTimeMs, values })
  }

  addUnreadable(row: number, time: string): void {
    this.entries.push({ shed: UNREADABLE })
    this.tell(`row ${row}: "${shorten(time)}" is no time, so the row is declared as shed (${UNREADABLE})`)
  }

  /** What was collected since the last call. */
  take(position: string): SourceGroup {
    const more = this.problemCount - this.problems.length
    const problems = more > 0 ? [...this.problems, `and ${more} more problems in these rows`] : this.problems
    const group = { entries: this.entries, position, nulledValues: this.nulledValues, problems }
    this.entries = []
    this.problems = []
    this.problemCount = 0
    this.nulledValues = 0
    return group
  }

  private tell(problem: string): void {
    this.problemCount++
    if (this.problems.length < PROBLEMS_PER_GROUP_MAX) this.problems.push(problem)
  }
}

function shorten(text: string): string {
  return text.length > SHOWN_LENGTH_MAX ? `${text.slice(0, SHOWN_LENGTH_MAX)}…` : text
}
