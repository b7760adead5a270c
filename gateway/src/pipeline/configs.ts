/**
 * Tells the main thread which configuration each device is to get: of all devices once the log of earlier runs is applied, and then
 * whenever somebody changes something. What lies in between follows from the log, so nothing is told twice or lost by a crash.
 */
import { configMessage } from '../processor/config-wanted.js'
import type { Processor } from '../processor/processor.js'
import { type DeviceRow, rowOf } from '../processor/registry.js'
import type { State } from '../processor/state.js'
import type { FromPipeline } from './messages.js'

/** A device's configuration as it travels; null: it gets none. */
export interface ConfigTold {
  readonly deviceId: string
  readonly message: Uint8Array | null
}

export class ConfigTeller {
  private hasToldAll = false

  /** `lastEntry`: the last entry of the log when the gateway started. */
  constructor(
    private readonly processor: Processor,
    private readonly lastEntry: number,
    private readonly post: (message: FromPipeline) => void
  ) {}

  /** Tells what has changed up to the entry that was applied last. */
  tell(): void {
    if (this.processor.entry < this.lastEntry) return
    const changed = this.processor.takeConfigured()
    const rows = this.hasToldAll ? changed : this.processor.show(allConfigured)
    this.hasToldAll = true
    if (rows.length > 0) this.post({ type: 'configs', configs: rows.map(told) })
  }
}

function told(row: DeviceRow): ConfigTold {
  return { deviceId: row.deviceId, message: configMessage(row) }
}

function allConfigured({ devices }: State): DeviceRow[] {
  const rows: DeviceRow[] = []
  for (const device of devices.values()) if (device.registration.config !== null) rows.push(rowOf(device))
  return rows
}
