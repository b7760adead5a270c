/** Follows what flushes mark and order for repair, and has it made once they are committed. */
import { join } from 'node:path'
import type { Flush } from '../processor/flush.js'
import { RepairCatalog } from '../repair/repair-catalog.js'
import { RepairClient } from '../repair/repair-client.js'
import type { FromPipeline } from './messages.js'

export class Repairs {
  /** Devices' hours that are marked. */
  marks = 0
  /** Boundaries that a repair is ordered as of and not made. */
  ordered = 0
  private readonly catalog: RepairCatalog
  private readonly client: RepairClient
  /** Last entries of flushes under way that mark or order something. */
  private readonly underWay: number[] = []
  private isAwaited = false

  /** `dataDir` holds a catalog. */
  constructor(
    dataDir: string,
    private readonly post: (message: FromPipeline) => void
  ) {
    this.catalog = new RepairCatalog(join(dataDir, 'catalog.sqlite'))
    this.client = new RepairClient(dataDir, {
      repaired: repaired => {
        this.count()
        post({ type: 'repaired', repaired, marksLeft: this.marks })
      },
      progress: ({ marks, marksDone }) => post({ type: 'repair-progress', marks, marksDone }),
      done: () => {
        this.count()
        this.answer(null)
      },
      failed: message => {
        post({ type: 'warning', message: `a repair of features failed and will be tried again: ${message}` })
        this.answer(message)
      }
    })
    this.count()
    if (this.ordered > 0) this.client.run()
  }

  /** The flush is about to be written. */
  expect({ lastEntry, repairs, repairOrder }: Flush): void {
    if (repairs.length > 0 || repairOrder !== undefined) this.underWay.push(lastEntry)
  }

  noteCommitted(entry: number): void {
    if (this.underWay.length === 0 || this.underWay[0] > entry) return
    while (this.underWay[0] <= entry) this.underWay.shift()
    this.count()
    if (this.ordered > 0) this.client.run()
  }

  /** Posts `repairs-settled` when nothing that is ordered is left to be made, or making it has failed. */
  awaitSettled(): void {
    this.isAwaited = true
    if (this.ordered === 0) this.answer(null)
  }

  async close(): Promise<void> {
    await this.client.close()
    this.catalog.close()
  }

  private count(): void {
    this.marks = this.catalog.countMarks()
    this.ordered = this.catalog.countJobs()
  }

  private answer(error: string | null): void {
    if (this.isAwaited) this.post({ type: 'repairs-settled', error })
    this.isAwaited = false
  }
}
