/** Applies what the gateway has set of this device, live, and keeps what to answer. What it does not set is as the file has it. */
import { type DeviceConfig, decodeDeviceConfig, durationMs, parseRate, type Rate } from '@tidemark/protocol'
import type { Logger } from 'pino'
import type { Config } from './config.js'
import type { DeviceSelf } from './mqtt-connection.js'

export interface RemoteControls {
  /** Called with every setting, also with those that did not change. */
  readonly apply: (settings: RemoteSettings) => void
  /** What there is to answer has changed. */
  readonly answered: () => void
}

export interface RemoteSettings {
  readonly intervalMs: number
  readonly commitIntervalMs: number
  readonly maxRate: Rate | null
}

export class RemoteConfig {
  private latest: DeviceSelf['config'] = null

  constructor(
    private readonly config: Config,
    private readonly log: Logger,
    private readonly controls: RemoteControls
  ) {}

  /** To be answered in the status. */
  get answer(): DeviceSelf['config'] {
    return this.latest
  }

  receive(payload: Uint8Array): void {
    if (payload.length === 0) return // a retained message that was cleared
    const decoded = decodeDeviceConfig(payload)
    const refused = decoded.ok ? this.objection(decoded.config) : decoded.refused
    const revision = decoded.ok ? decoded.config.revision : decoded.revision
    if (decoded.ok && refused === null) this.apply(decoded.config)
    else this.log.warn({ revision, refused }, 'the configuration from the gateway is refused')
    this.latest = { revision, refused }
    this.controls.answered()
  }

  private objection({ interval, commit_interval }: DeviceConfig): string | null {
    const { replay, schedule, buffer } = this.config
    if (interval !== undefined && replay !== null) return 'interval: a recording has its own times'
    if (interval !== undefined && schedule !== null) return 'interval: this device samples on a schedule'
    if (commit_interval !== undefined && buffer.durability !== 'spill')
      return 'commit_interval: this device commits each reading (durability strict)'
    return null
  }

  private apply({ revision, interval, commit_interval, max_rate, log_level }: DeviceConfig): void {
    const { intervalMs, buffer, publish, logLevel } = this.config
    this.log.level = log_level ?? logLevel
    this.log.info({ revision, interval, commit_interval, max_rate, log_level }, 'configured by the gateway')
    this.controls.apply({
      intervalMs: interval === undefined ? intervalMs : durationMs(interval),
      commitIntervalMs: commit_interval === undefined ? buffer.commitIntervalMs : durationMs(commit_interval),
      maxRate: max_rate === undefined ? publish.maxRate : parseRate(max_rate)
    })
  }
}
