/** What the ledger says of an epoch of a device at a boundary. */
import type { Device } from './device.js'
import type { EpochLedger } from './flush.js'

/** `number` 0 stands for readings with opaque event IDs. null where the epoch is no longer known. */
export function ledgerRow(device: Device, number: number, waiting: number): EpochLedger | null {
  const { deviceId, opaque } = device
  if (number === 0) {
    const { archived, quarantined, duplicates, late } = opaque
    return {
      deviceId,
      epoch: 0,
      highestSampledSeq: archived + quarantined,
      archived,
      waiting,
      quarantined,
      shed: 0,
      buffered: 0,
      missing: 0,
      duplicates,
      late
    }
  }
  const epoch = device.epoch(number)
  if (epoch === undefined) return null
  return { deviceId, epoch: number, highestSampledSeq: epoch.highestSampledSeq, waiting, buffered: epoch.buffered, ...epoch.counts }
}
