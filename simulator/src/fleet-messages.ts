/** What a fleet's processes and the one that started them say to each other: plain data, over Node's IPC. */
import type { BrokerAddress } from './connection.js'
import type { ShareReport, Telling } from './fleet.js'
import type { FleetOptions } from './fleet-options.js'
import type { Share } from './schedule.js'

/** To a process. */
export type FleetCommand =
  | {
      readonly say: 'play'
      /** Without the signal. */
      readonly options: Omit<FleetOptions, 'signal'>
      readonly share: Share
      readonly addresses: readonly BrokerAddress[]
    }
  | { readonly say: 'begin'; readonly startMs: number }
  | { readonly say: 'stop' }

/** From a process. Histograms are encoded. */
export type FleetMessage =
  | { readonly say: 'ready' }
  | { readonly say: 'telling'; readonly telling: Telling; readonly live: string; readonly backlog: string }
  | { readonly say: 'report'; readonly report: ShareReport }
  | { readonly say: 'failure'; readonly code: string | null; readonly message: string }
