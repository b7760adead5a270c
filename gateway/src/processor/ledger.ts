/** What the ledger says of epochs of devices at a boundary: column by column, as a large fleet has one a device. */
import type { Device } from './device.js'
import { type EpochColumns, type EpochLedger, type Flush, LEDGER_NUMBERS, type LedgerNumber } from './flush.js'

/** Columns that grow. */
export class LedgerColumns {
  private size = 0
  private device: Int32Array<ArrayBuffer>
  private numbers: Record<LedgerNumber, Float64Array<ArrayBuffer>>

  /** `rowsExpected`: room is made for so many at first. */
  constructor(rowsExpected: number) {
    this.device = new Int32Array(rowsExpected)
    this.numbers = columnsOf(() => new Float64Array(rowsExpected))
  }

  /**
   * Adds an epoch of the device, which has the place in the flush's dictionary of devices. `number` 0 stands for readings with opaque
   * event IDs. Nothing where the epoch is no longer known.
   */
  add(place: number, device: Device, number: number, waiting: number): void {
    const epoch = number === 0 ? null : device.epoch(number)
    if (epoch === undefined) return
    if (this.size === this.device.length) this.grow()
    const { numbers } = this
    const row = this.size++
    const counts = epoch === null ? device.opaque : epoch.counts
    this.device[row] = place
    numbers.epoch[row] = number
    numbers.archived[row] = counts.archived
    numbers.waiting[row] = waiting
    numbers.quarantined[row] = counts.quarantined
    numbers.duplicates[row] = counts.duplicates
    numbers.late[row] = counts.late
    if (epoch === null) {
      numbers.highestSampledSeq[row] = counts.archived + counts.quarantined
      return
    }
    numbers.highestSampledSeq[row] = epoch.highestSampledSeq
    numbers.buffered[row] = epoch.buffered
    numbers.shed[row] = epoch.counts.shed
    numbers.missing[row] = epoch.counts.missing
  }

  take(): EpochColumns {
    const { size, device, numbers } = this
    return { device: device.subarray(0, size), ...columnsOf(name => numbers[name].subarray(0, size)) }
  }

  private grow(): void {
    const capacity = Math.max(16, 2 * this.size)
    const device = new Int32Array(capacity)
    device.set(this.device)
    this.device = device
    const { numbers } = this
    this.numbers = columnsOf(name => {
      const grown = new Float64Array(capacity)
      grown.set(numbers[name])
      return grown
    })
  }
}

function columnsOf<T>(make: (name: LedgerNumber) => T): Record<LedgerNumber, T> {
  return Object.fromEntries(LEDGER_NUMBERS.map(name => [name, make(name)])) as Record<LedgerNumber, T>
}

/** The flush's ledgers as rows, for who needs few. */
export function ledgersOf({ deviceIds, epochs }: Pick<Flush, 'deviceIds' | 'epochs'>): EpochLedger[] {
  return Array.from(epochs.device, (place, row) => ({ deviceId: deviceIds[place], ...columnsOf(name => epochs[name][row]) }))
}
