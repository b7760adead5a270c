/**
 * Looks at what the devices have yet to send, at most once a second and once the log of earlier runs is applied, and tells the main
 * thread which grants to deliver. It only reads the processor's state.
 */
import { Pace } from '../pace.js'
import type { FromPipeline } from '../pipeline/messages.js'
import type { Processor } from '../processor/processor.js'
import type { State } from '../processor/state.js'
import type { DrainConfig } from './config.js'
import { type Backlog, DrainBudget, type DrainStats } from './drain-budget.js'

const LOOK_MS = 1000

/** The processor counts as late when it is so far behind the log, in ms of ingest time. */
const BEHIND_MS_MAX = 5000

export class DrainTeller {
  private readonly budget: DrainBudget
  private readonly pace = new Pace(LOOK_MS)
  private isLate = false

  /** `lastEntry`: the last entry of the log when the gateway started. */
  constructor(
    private readonly processor: Processor,
    config: DrainConfig,
    private readonly lastEntry: number,
    private readonly post: (message: FromPipeline) => void
  ) {
    this.budget = new DrainBudget(config)
  }

  get stats(): DrainStats {
    return this.budget.stats
  }

  /** PUBACKs wait. */
  noteLate(): void {
    this.isLate = true
  }

  /** `head`: the last entry of the log. */
  tell(head: number): void {
    if (this.pace.isDue && this.processor.entry >= this.lastEntry) this.pace.run(() => this.look(head))
  }

  private look(head: number): void {
    const grants = this.processor.show(state => {
      const isBehind = head > state.entry && Date.now() - state.ingestMs > BEHIND_MS_MAX
      return this.budget.look(performance.now(), this.isLate || isBehind, backlogsOf(state, this.budget.finishedReadings))
    })
    this.isLate = false
    if (grants.length > 0) this.post({ type: 'grants', grants })
  }
}

function* backlogsOf({ devices, uptimeMs }: State, readingsMin: number): Generator<Backlog> {
  for (const { deviceId, latestEpoch, lastSeenMs } of devices.values()) {
    if (latestEpoch === null) continue
    const { epoch, buffered, highestSampledSeq } = latestEpoch
    if (buffered >= readingsMin) yield { deviceId, epoch, buffered, highestSampledSeq, quietMs: uptimeMs - lastSeenMs }
  }
}
