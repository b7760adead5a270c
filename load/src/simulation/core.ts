/** The processor as the simulated gateway runs it: the real one, or the real one with a bug wrapped around it. */
import type { LogEntry } from '@tidemark/gateway/dist/log/schema.js'
import type { Settings } from '@tidemark/gateway/dist/processor/control.js'
import type { EventIdStore } from '@tidemark/gateway/dist/processor/event-ids.js'
import type { Flush } from '@tidemark/gateway/dist/processor/flush.js'
import { Processor } from '@tidemark/gateway/dist/processor/processor.js'
import { withoutRepeatedValues } from './plants/dedupe-by-value.js'
import { dropBytes, lateAgainst, overwrite, withoutCorrections } from './plants/flush-tampering.js'
import type { Plant } from './plants.js'

/** Parts of a snapshot, one after the other; null behind the last. */
export interface Parts {
  next(): Uint8Array | null
}

export interface Core {
  readonly entry: number
  apply(entry: LogEntry): Flush | null
  /** Begins a snapshot as of the boundary that the last entry made; its parts can be taken while others are applied. */
  beginSnapshot(devicesPerPart: number): Parts
  takeNotices(): readonly { readonly deviceId: string; readonly epoch: number }[]
}

export interface CoreOptions {
  readonly eventIds: EventIdStore
  /** The parts of one. */
  readonly snapshot: readonly Uint8Array[] | null
  /** Flushes up to here need no rows. */
  readonly committedEntry: number
  readonly settings: Settings
  readonly plant: Plant | null
  /** The machine's clock, which the real processor does not read. */
  readonly wallMs: () => number
}

export function openCore(options: CoreOptions): Core {
  const processor = new Processor(options.eventIds, options.snapshot, options.committedEntry)
  const { plant, settings, wallMs } = options
  switch (plant) {
    case 'dedupe-by-value':
      return tampered(processor, flush => flush, withoutRepeatedValues())
    case 'quarantine-without-bytes':
      return tampered(processor, dropBytes)
    case 'watermark-by-wall-time':
      return tampered(processor, flush => lateAgainst(flush, row => row.ingestMs - settings.allowedLatenessMs))
    case 'shared-watermark': {
      let latestMs = Number.NEGATIVE_INFINITY
      return tampered(processor, flush =>
        lateAgainst(flush, row => {
          latestMs = Math.max(latestMs, row.eventTimeMs)
          return latestMs - settings.allowedLatenessMs
        })
      )
    }
    case 'no-corrections':
      return tampered(processor, withoutCorrections)
    case 'computed-at-by-wall-clock':
      return tampered(processor, flush => overwrite(flush, 'computed_at', wallMs))
    case 'known-at-backdated':
      return tampered(processor, flush => overwrite(flush, 'known_at', (row, column) => column('as_of')[row]))
    default:
      return processor
  }
}

function tampered(core: Core, tamper: (flush: Flush) => Flush, before: (entry: LogEntry) => LogEntry = entry => entry): Core {
  return {
    get entry() {
      return core.entry
    },
    apply(entry) {
      const flush = core.apply(before(entry))
      return flush === null ? null : tamper(flush)
    },
    beginSnapshot: devicesPerPart => core.beginSnapshot(devicesPerPart),
    takeNotices: () => core.takeNotices()
  }
}
