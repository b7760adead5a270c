/** A device that says what a delivery tells it to, in batches over MQTT; seqs count on in the order of delivery. */
import { columnsOf, encodeBatch, type Profile } from '@tidemark/protocol'
import type { LoggedBatch } from '../replay/gateway-disk.js'
import { redeliver } from '../replay/redelivery.js'
import { ReplayError } from '../replay/replay-error.js'
import type { TimedRow } from './delivery.js'

const BATCH_READINGS = 200
const EPOCH = 7

export class WireDevice {
  private seq = 0

  constructor(
    readonly deviceId: string,
    private readonly profile: Profile
  ) {}

  /** Resolves when all is acked. `isEnd`: nothing comes behind it. */
  async send(port: number, rows: readonly TimedRow[], isEnd: boolean): Promise<void> {
    const batches: LoggedBatch[] = []
    for (let i = 0; i < rows.length; i += BATCH_READINGS) {
      const some = rows.slice(i, i + BATCH_READINGS)
      batches.push(this.batch(some, isEnd && i + BATCH_READINGS >= rows.length))
    }
    if (rows.length === 0 && isEnd) batches.push(this.batch([], true))
    const acked = await redeliver(port, this.deviceId, batches)
    if (acked.length < batches.length)
      throw new ReplayError(`the gateway acked ${acked.length} of ${batches.length} batches of ${this.deviceId}`)
  }

  private batch(rows: readonly TimedRow[], isEnd: boolean): LoggedBatch {
    const first = this.seq + 1
    this.seq += rows.length
    const payload = encodeBatch({
      profile: this.profile,
      epoch: EPOCH,
      oldestHeldSeq: first,
      highestSampledSeq: this.seq,
      buffered: rows.length,
      seqs: rows.map((_, i) => first + i),
      eventTimesMs: rows.map(({ eventTimeMs }) => eventTimeMs),
      columns: columnsOf(
        this.profile,
        rows.map(({ values }) => values)
      ),
      ...(isEnd && { endOfStreamSeq: this.seq })
    })
    return { entry: 0, payload: Buffer.from(payload), readings: rows.length }
  }
}
