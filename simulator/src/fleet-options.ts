/** What a fleet is told to do, and what it tells: while it runs and when it is over. */
import type { FaultRates } from './faults.js'
import type { Quantiles } from './latency.js'
import type { Run } from './run-file.js'
import type { Counts } from './tally.js'
import type { TroubleRates } from './troubles.js'

export interface FleetOptions {
  /** mqtt://host:port */
  readonly url: string
  readonly devices: number
  readonly intervalMs: number
  /** How long it samples, from the moment when all are connected. */
  readonly forMs: number
  /** Default 1. */
  readonly seed?: number
  /** Index of the first device. Default 0. */
  readonly firstDevice?: number
  /** Event time of the first reading, Unix ms. Default: when sampling begins. */
  readonly startMs?: number
  /** Default: no faults. */
  readonly rates?: FaultRates
  /** Default: no troubles. */
  readonly troubles?: TroubleRates
  /** Some devices are out of reach until `atMs` after the start, and come then with all that they have. */
  readonly backlog?: FleetBacklog
  /** Readings in a message. With more than one there are no faults. Default 1. */
  readonly readingsPerMessage?: number
  /** What a message is: a batch, or a JSON reading on the topic of those. Default a batch. */
  readonly format?: 'batch' | 'json'
  /** New connections a second. Default 1000. */
  readonly connectPerS?: number
  /** Over how many connections the devices go. Default: one each. With fewer, a connection is that of a relay. */
  readonly connections?: number
  /** Addresses that the connections are spread over, in place of the URL's host. Default: as many as their number asks for. */
  readonly destinations?: readonly string[]
  /** Processes of their own that share the devices. Default: as many as their connections ask for, and this one where one is enough. */
  readonly processes?: number
  /** How long it may take until all is acked once sampling is over. Default one minute. */
  readonly drainMsMax?: number
  /** Aborted: stops sampling early, drains and ends as if its time were over. */
  readonly signal?: AbortSignal
}

export interface FleetBacklog {
  readonly devices: number
  /** How long they have been measuring when the run begins. */
  readonly ms: number
  /** When they come back, after the start. */
  readonly atMs: number
}

export type FleetPhase = 'connecting' | 'sampling' | 'draining' | 'done'

/** Where a fleet is; told once a second. */
export interface FleetProgress {
  readonly phase: FleetPhase
  /** Of the sampling, in [0, 1]. */
  readonly share: number
  readonly devices: number
  /** Connections that are open, and how many there are to be. */
  readonly connected: number
  readonly connections: number
  readonly sampled: number
  readonly published: number
  readonly acked: number
  readonly readingsAcked: number
  /** PUBLISHes that wait for their PUBACK. */
  readonly inFlight: number
  readonly disconnects: number
  /** Readings acked a second, of late. */
  readonly readingsPerS: number
  /** Of all so far, and of those acked since the last telling. */
  readonly pubackMs: Quantiles
  readonly recentMs: Quantiles
}

/** What a fleet did. Readings are counted once each, PUBLISHes as they were sent, redeliveries apart. */
export interface FleetReport extends Readonly<Counts> {
  readonly devices: number
  readonly connections: number
  /** Connections that stood when sampling began, and how long that took. */
  readonly connectedAtStart: number
  readonly connectMs: number
  /** Readings that were not acked when the fleet gave up; 0 when all went well. */
  readonly unacked: number
  /** From the time at which a reading was due to its PUBACK; readings of a backlog apart. */
  readonly pubackMs: Quantiles
  /** From the time at which the devices of the backlog came back. */
  readonly backlogMs: Quantiles
  /** Readings sampled a second, those of a backlog apart. */
  readonly rate: number
  /** How long it sampled. */
  readonly sampledMs: number
  /** From the end of the sampling until all was acked and all devices had said goodbye. */
  readonly drainMs: number
  /** What `verifyArchive` needs. */
  readonly run: Run
}

/** The report in the form that `--json` writes. */
export function reportToJson(report: FleetReport) {
  return {
    devices: report.devices,
    connections: report.connections,
    connected_at_start: report.connectedAtStart,
    connect_s: report.connectMs / 1000,
    sampled: report.sampled,
    published: report.published,
    acked: report.acked,
    unacked: report.unacked,
    ended: report.ended,
    duplicates_sent: report.duplicatesSent,
    held_back_sent: report.heldBackSent,
    late_sent: report.lateSent,
    poison_sent: report.poisonSent,
    redelivered: report.redelivered,
    disconnects: report.disconnects,
    cut: report.cut,
    payload_bytes: report.payloadBytes,
    wire_sent_bytes: report.wireSentBytes,
    wire_received_bytes: report.wireReceivedBytes,
    puback_ms: report.pubackMs,
    backlog_ms: report.backlogMs,
    rate: report.rate
  }
}
