/**
 * Says what holds of the gateway's configuration of this device beside its file, and keeps what to answer. What the gateway does not
 * set is as the file has it.
 */
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
  readonly logLevel: Config['logLevel']
}

export class RemoteConfig {
  private latest: DeviceSelf['config'] = null
  /** What the gateway wants, and what it wanted before. */
  private wanted: DeviceConfig | null = null
  private wantedBefore: DeviceConfig | null = null

  constructor(
    private config: Config,
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
    const refused = decoded.ok ? objection(decoded.config, this.config) : decoded.refused
    const revision = decoded.ok ? decoded.config.revision : decoded.revision
    if (decoded.ok && refused === null) {
      this.wantedBefore = this.wanted
      this.wanted = decoded.config
      this.log.info(decoded.config, 'configured by the gateway')
      this.latest = { revision, refused }
      this.apply()
    } else this.refuse(revision, refused)
    this.controls.answered()
  }

  /** The file was changed: what the gateway wants holds beside it as far as it fits. */
  configure(config: Config): void {
    this.config = config
    this.apply()
    if (this.wanted === null) return
    const { revision } = this.wanted
    const refused = objection(this.wanted, config)
    if (this.latest?.revision !== revision || this.latest.refused === refused) return
    this.refuse(revision, refused)
    this.controls.answered()
  }

  /** What the gateway wants turned out to be impossible: what it wanted before holds on. */
  withdraw(reason: string): void {
    if (this.wanted === null) return
    const { revision } = this.wanted
    this.wanted = this.wantedBefore
    this.wantedBefore = null
    this.refuse(revision, reason)
    this.apply()
    this.controls.answered()
  }

  /** What holds with a file. */
  settingsWith(config: Config): RemoteSettings {
    const { intervalMs, buffer, publish, logLevel } = config
    const fitting = this.wanted !== null && objection(this.wanted, config) === null ? this.wanted : {}
    const { interval, commit_interval, max_rate, log_level }: Partial<DeviceConfig> = fitting
    return {
      intervalMs: interval === undefined ? intervalMs : durationMs(interval),
      commitIntervalMs: commit_interval === undefined ? buffer.commitIntervalMs : durationMs(commit_interval),
      maxRate: max_rate === undefined ? publish.maxRate : parseRate(max_rate),
      logLevel: log_level ?? logLevel
    }
  }

  private refuse(revision: number, refused: string | null): void {
    if (refused !== null) this.log.warn({ revision, refused }, 'the configuration from the gateway is refused')
    this.latest = { revision, refused }
  }

  private apply(): void {
    const settings = this.settingsWith(this.config)
    this.log.level = settings.logLevel
    this.controls.apply(settings)
  }
}

/** Why it does not fit to a file; null where it does. */
function objection({ interval, commit_interval }: DeviceConfig, { replay, schedule, buffer }: Config): string | null {
  if (interval !== undefined && replay !== null) return 'interval: a recording has its own times'
  if (interval !== undefined && schedule !== null) return 'interval: this device samples on a schedule'
  if (commit_interval !== undefined && buffer.durability !== 'spill')
    return 'commit_interval: this device commits each reading (durability strict)'
  return null
}
