/** Gives the messages of a requeue to the gateway that runs over the data folder, an entry at a time. */
import type { QuarantineFilter } from '../archive/quarantine.js'
import type { Config } from '../config.js'
import { REQUEUE_PATH, requeuedSchema } from '../http/requeue-routes.js'
import { packFrame } from '../log/frames.js'
import { REQUEUE_ENTRY_BYTES, type Requeued, type RequeueSink, requeueInto, startOf } from '../requeue-run.js'
import { askGateway, type GatewayAddress } from './running-gateway.js'

/**
 * Throws a `ConfigError` where the gateway refuses: an earlier requeue may not be written out yet. `config`: whose profiles are to judge;
 * null: those of the gateway.
 */
export async function requeueThrough(
  gateway: GatewayAddress,
  dataDir: string,
  filter: QuarantineFilter,
  config: Config | null,
  onProgress: (requeued: Requeued) => void = () => {}
): Promise<Requeued> {
  return await requeueInto(new PostSink(gateway, config === null ? null : startOf(config)), dataDir, filter, onProgress)
}

/** Each body is an entry: the start, where one is given, is ahead in all of them, since what comes between is judged by the gateway's own. */
class PostSink implements RequeueSink {
  private parts: Buffer[] = []
  private bytes = 0

  constructor(
    private readonly gateway: GatewayAddress,
    private readonly start: Uint8Array | null
  ) {}

  async add(deviceId: string, payload: Uint8Array): Promise<void> {
    if (this.parts.length === 0 && this.start !== null) this.parts.push(packFrame('control', '', this.start))
    const frame = packFrame('requeue', deviceId, payload)
    this.parts.push(frame)
    this.bytes += frame.length
    if (this.bytes >= REQUEUE_ENTRY_BYTES) await this.end()
  }

  async end(): Promise<void> {
    if (this.parts.length === 0) return
    await askGateway(this.gateway, REQUEUE_PATH, requeuedSchema, Buffer.concat(this.parts))
    this.parts = []
    this.bytes = 0
  }
}
