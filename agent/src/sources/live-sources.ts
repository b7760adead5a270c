/**
 * Makes readings of what one or several live sources measure. At each moment of the cadence all are asked at once; each is waited
 * for no longer than its time limit, so that one that fails or hangs never stops the others: its metrics are null meanwhile, and it
 * is asked again with backoff (core/source-health.ts). Where nothing at all could be measured there is no reading.
 * A reading bears the time at which measuring began.
 */
import type { Profile, Value } from '@tidemark/protocol'
import type { Logger } from 'pino'
import { judgeHealth, mayAsk, newHealth, type Outcome, type SourceHealth } from '../core/source-health.js'
import { SAMPLING_LATE_MS_MAX } from '../limits.js'
import { monotonicMs } from '../monotonic.js'
import type { Cadence } from './cadence.js'
import { messageOf } from './mapping.js'
import type { LiveSource, Measured, Source, SourceGroup } from './source.js'

export interface OpenLiveSource {
  /** Two that are alike are the same source to the same profile, and one can go on as the other. */
  readonly identity: string
  readonly source: LiveSource
  /** How long it is waited for, in ms. */
  readonly timeoutMs: number
}

export interface LiveSourcesOptions {
  /** Those that another `LiveSources` had open go on as they are. */
  readonly members: readonly (OpenLiveSource | Member)[]
  readonly profile: Profile
  readonly cadence: Cadence
  /** End after the first reading of this run. */
  readonly once: boolean
  readonly log: Logger
  /** Aborts: a measurement that is under way is given up. */
  readonly stop: AbortSignal
}

/** What `status` shows of a source. */
export interface SourceState extends Omit<SourceHealth, 'retryMs'> {
  readonly key: string
  readonly metrics: readonly string[]
}

/** An open source and how it is doing. */
export interface Member extends OpenLiveSource {
  health: SourceHealth
  /** A call that has not settled yet, though it may no longer be waited for. */
  isBusy: boolean
  hasEnded: boolean
  position: string | undefined
}

export class LiveSources implements Source {
  readonly live = true
  readonly key: string
  readonly members: readonly Member[]
  private readonly places: readonly (readonly [Member, string] | null)[]
  /** Monotonic ms at which the loop must have come to its next step. */
  private stepDueMs = Number.POSITIVE_INFINITY

  constructor(private readonly options: LiveSourcesOptions) {
    const nowMs = monotonicMs()
    this.members = options.members.map(open => {
      return 'health' in open ? open : { ...open, health: newHealth(nowMs), isBusy: false, hasEnded: false, position: undefined }
    })
    this.key = this.members.length === 1 ? this.members[0].source.key : 'sources'
    this.places = options.profile.metrics.map(({ name }) => {
      const member = this.members.find(({ source }) => source.metrics.includes(name))
      return member === undefined ? null : ([member, name] as const)
    })
  }

  get cadence(): Cadence {
    return this.options.cadence
  }

  /** An open source that another configuration wants too. */
  find(identity: string): Member | null {
    return this.members.find(member => member.identity === identity) ?? null
  }

  states(): SourceState[] {
    return this.members.map(({ source, health: { retryMs: _, ...health } }) => ({ key: source.key, metrics: source.metrics, ...health }))
  }

  async *groups(stored: string | null, signal: AbortSignal): AsyncGenerator<SourceGroup> {
    this.resume(stored)
    try {
      while (this.members.some(member => !member.hasEnded) && (await this.nextMoment(signal))) {
        const measuredMs = monotonicMs()
        this.stepDueMs = measuredMs + Math.max(...this.members.map(({ timeoutMs }) => timeoutMs))
        const measured = await this.measure()
        if (this.options.stop.aborted) return
        const values = this.places.map<Value>(place => (place === null ? null : (measured.get(place[0])?.values.get(place[1]) ?? null)))
        if (values.every(value => value === null)) continue
        yield { entries: [{ measuredMs, values }], position: this.position(), nulledValues: 0, problems: [] }
        if (this.options.once) return
      }
    } finally {
      this.stepDueMs = Number.POSITIVE_INFINITY // nothing is due any more
    }
  }

  /** Whether the loop of `groups` has stopped somewhere: in waiting, in measuring, or in whoever takes what it yields. */
  isHung(nowMs: number): boolean {
    return nowMs > this.stepDueMs + SAMPLING_LATE_MS_MAX
  }

  async close(): Promise<void> {
    await Promise.all(this.members.map(({ source }) => source.close()))
  }

  /** Closes the sources that do not go on in `other`. */
  async closeAllBut(other: LiveSources): Promise<void> {
    const ended = this.members.filter(member => !other.members.includes(member))
    await Promise.all(ended.map(({ source }) => source.close()))
  }

  /** False where `signal` aborts first. */
  private nextMoment(signal: AbortSignal): Promise<boolean> {
    const { cadence } = this.options
    this.stepDueMs = cadence.dueMs
    return cadence.next(signal)
  }

  private async measure(): Promise<Map<Member, Measured>> {
    const { stop } = this.options
    const nowMs = monotonicMs()
    const asked = this.members.filter(member => !member.hasEnded && !member.isBusy && mayAsk(member.health, nowMs))
    const results = new Map<Member, Measured>()
    await Promise.all(
      asked.map(async member => {
        const result = await ask(member, stop)
        if (stop.aborted) return
        this.note(member, typeof result === 'string' ? { kind: 'failed', error: result, answered: false } : outcomeOf(result))
        if (typeof result === 'string') return
        results.set(member, result)
        member.position = result.position ?? member.position
        member.hasEnded = result.isLast === true
      })
    )
    return results
  }

  private note(member: Member, outcome: Outcome): void {
    const { log } = this.options
    const before = member.health
    member.health = judgeHealth(before, outcome, monotonicMs())
    const { state, error, failures } = member.health
    const about = { source: member.source.key }
    if (state === before.state && (state === 'ok' || error === before.error)) return
    if (outcome.kind === 'ok') {
      if (before.state !== 'starting') log.info(about, 'the source gives all its values again')
    } else if (outcome.kind === 'degraded') log.warn({ ...about, error }, 'some values of the source are null')
    else log.warn({ ...about, error, failures }, 'the source fails: its values are null until it is well again')
  }

  /** One source's own position; of several, a JSON object by key. */
  private position(): string | null {
    if (this.members.length === 1) return this.members[0].position ?? null
    const positions = this.members.flatMap(({ source, position }) => (position === undefined ? [] : [[source.key, position]]))
    return positions.length === 0 ? null : JSON.stringify(Object.fromEntries(positions))
  }

  private resume(stored: string | null): void {
    if (stored === null) return
    const positions: Record<string, string> = this.members.length === 1 ? { [this.key]: stored } : JSON.parse(stored)
    for (const member of this.members) {
      const position = positions[member.source.key]
      if (position === undefined || member.position !== undefined) continue
      member.position = position
      member.hasEnded = member.source.resume?.(position) === false
    }
  }
}

function outcomeOf({ values, problems }: Measured): Outcome {
  if (problems.length === 0) return { kind: 'ok' }
  const error = problems.join('; ')
  return values.size > 0 ? { kind: 'degraded', error } : { kind: 'failed', error, answered: true }
}

/** What the source measured, or why it did not. Never rejects. */
async function ask(member: Member, stop: AbortSignal): Promise<Measured | string> {
  const { source, timeoutMs } = member
  const limit = new AbortController()
  const expired = new Promise<string>(resolve => {
    // A source that lets go at once may say better what is wrong.
    const expire = () => setImmediate(() => resolve(`no answer within ${timeoutMs} ms`))
    limit.signal.addEventListener('abort', expire, { once: true })
  })
  const abort = () => limit.abort()
  const timer = setTimeout(abort, timeoutMs)
  stop.addEventListener('abort', abort, { once: true })
  member.isBusy = true
  const answer = Promise.resolve()
    .then(() => source.measure(limit.signal))
    .catch(messageOf)
    .finally(() => {
      member.isBusy = false
    })
  try {
    return await Promise.race([answer, expired])
  } finally {
    clearTimeout(timer)
    stop.removeEventListener('abort', abort)
  }
}
