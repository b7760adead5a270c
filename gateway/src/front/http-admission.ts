/**
 * Which batches that come over HTTP the front takes: by the rules of MQTT, and within bounds for each device, since nothing holds a
 * client's requests back as a socket is held. Appends to the log; answers once that is durable.
 */
import { isDeviceId, topicOf } from '@tidemark/protocol'
import type { FrameLog } from '../log/frame-log.js'
import { admitPublish, type Refusal } from './admission.js'
import { emptyStats } from './stats.js'

/** Batches and bytes of one device that may wait for the log. */
const PENDING_MAX = 16
const PENDING_BYTES_MAX = 1024 * 1024

/** Bytes of all devices that may wait for it: requests are held in memory meanwhile. */
const PENDING_BYTES_OF_ALL_MAX = 32 * 1024 * 1024

export type HttpRefusal = Refusal | 'client-id' | 'device-pending' | 'log-full'

export type HttpAdmission = { readonly ok: true; readonly durable: Promise<void> } | { readonly ok: false; readonly refusal: HttpRefusal }

interface Pending {
  count: number
  bytes: number
}

export class HttpAdmissions {
  /** Counted as a front counts: a batch that was answered is acked. */
  readonly stats = emptyStats()
  private readonly pending = new Map<string, Pending>()
  private pendingBytes = 0

  constructor(private readonly log: FrameLog) {}

  /** `durable` resolves when the batch is in the log, and rejects with what kept it out. */
  admit(deviceId: string, payload: Uint8Array): HttpAdmission {
    if (!isDeviceId(deviceId)) return this.refuse('client-id')
    const admission = admitPublish(deviceId, topicOf(deviceId, 'batch'), payload.length)
    if (!admission.ok) return this.refuse(admission.refusal)
    if (this.log.isFull || this.pendingBytes + payload.length > PENDING_BYTES_OF_ALL_MAX) return { ok: false, refusal: 'log-full' }
    const pending = this.pending.get(deviceId) ?? { count: 0, bytes: 0 }
    if (pending.count >= PENDING_MAX || pending.bytes + payload.length > PENDING_BYTES_MAX) return { ok: false, refusal: 'device-pending' }
    this.pending.set(deviceId, pending)
    return { ok: true, durable: this.append(deviceId, payload, pending) }
  }

  private append(deviceId: string, payload: Uint8Array, pending: Pending): Promise<void> {
    pending.count++
    pending.bytes += payload.length
    this.pendingBytes += payload.length
    this.stats.published++
    return new Promise((resolve, reject) => {
      const settled = (error: Error | null): void => {
        pending.count--
        pending.bytes -= payload.length
        this.pendingBytes -= payload.length
        if (pending.count === 0) this.pending.delete(deviceId)
        if (error === null) {
          this.stats.acked++
          resolve()
        } else {
          this.stats.refused.log++
          reject(error)
        }
      }
      this.log.appendFor('batch', deviceId, payload, { settled }, 0)
    })
  }

  private refuse(refusal: Refusal | 'client-id'): HttpAdmission {
    this.stats.refused[refusal]++
    return { ok: false, refusal }
  }
}
