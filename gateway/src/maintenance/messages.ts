import type { MaintenanceConfig } from './config.js'
import type { PassTotals } from './pass.js'

/** What crosses between the gateway's main thread and the maintenance worker. */

export interface MaintenanceWorkerData {
  readonly dataDir: string
  readonly config: MaintenanceConfig
}

export interface MaintenanceStats extends PassTotals {
  /** Superseded files that wait for their deletion. */
  readonly waiting: number
  readonly passes: number
  /** Hours that could not be compacted or deleted, and passes that could not be run. */
  readonly failures: number
}

export type ToMaintenance = { readonly type: 'close' }

export type FromMaintenance =
  | { readonly type: 'log'; readonly level: 'debug' | 'info' | 'warn' | 'error'; readonly message: string; readonly fields: object }
  | { readonly type: 'stats'; readonly stats: MaintenanceStats }
  | { readonly type: 'closed' }
