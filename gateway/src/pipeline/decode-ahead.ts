/**
 * Reads and decodes the log ahead of a processor that is far behind, in a thread of its own: what needs no state takes a third of the
 * time, and a machine that has just started has a core to spare. The processor takes the same entries, decoded or not, to the same
 * end.
 */
import { Worker } from 'node:worker_threads'
import { youngGenerationOf } from '../heaps.js'
import type { LogEntry } from '../log/schema.js'
import { DecodedEntry, DecodedTables } from '../processor/decoded.js'
import type { DecodedBlock, DecodeOptions, FromDecoder, ToDecoder } from './messages.js'

/** Blocks that are decoded, being decoded, or in use. */
const BLOCKS = 4

export class DecodeAhead {
  private readonly tables = new DecodedTables()
  private readonly waiting: FromDecoder[] = []
  private inUse: DecodedBlock | null = null
  private failure: Error | null = null
  private wake: () => void = () => {}

  private constructor(private readonly worker: Worker) {
    worker.on('message', (message: FromDecoder) => {
      this.waiting.push(message)
      this.wake()
    })
    worker.on('error', (error: Error) => {
      this.failure = error
      this.wake()
    })
    for (let block = 0; block < BLOCKS; block++) this.give({ cells: new Float64Array(0), frames: new Uint8Array(0) })
  }

  static start(options: DecodeOptions): DecodeAhead {
    return new DecodeAhead(
      new Worker(new URL('./decode-worker.js', import.meta.url), {
        workerData: options,
        name: 'decode',
        resourceLimits: youngGenerationOf(8)
      })
    )
  }

  /**
   * The next entries, oldest first; none where all are out. They are of no use once it is called again: their memory is another block's then.
   * Rejects where the log is damaged or cannot be read.
   */
  async next(): Promise<LogEntry[]> {
    const { inUse: used } = this
    this.inUse = null
    if (used !== null) this.give(used)
    while (this.waiting.length === 0 && this.failure === null) await new Promise<void>(resolve => (this.wake = resolve))
    const block = this.waiting.shift()
    if (block === undefined) throw this.failure!
    if (block.type === 'failed') throw new Error(block.message)
    if (block.type === 'end') {
      await this.close()
      return []
    }
    this.inUse = block
    this.tables.add(block.news)
    return block.entries.map(({ entry, ingestMs, from, to, first, behind }) => ({
      entry,
      ingestMs,
      frames: block.frames.subarray(from, to),
      decoded: new DecodedEntry(this.tables, block.cells, first, behind)
    }))
  }

  async close(): Promise<void> {
    await this.worker.terminate()
  }

  private give({ cells, frames }: Pick<DecodedBlock, 'cells' | 'frames'>): void {
    this.worker.postMessage({ cells, frames } satisfies ToDecoder, [cells.buffer, frames.buffer])
  }
}
