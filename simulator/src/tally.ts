/** What a fleet counts while it runs. The tallies of processes add up. */
import type { Publication } from './publication.js'

/** Numbers of PUBLISHes, readings or events, over a fleet's whole run. */
export interface Counts {
  /** PUBLISHes sent, each once however often it was redelivered; marks not counted. */
  published: number
  /** Of those, the acked ones. */
  acked: number
  /** Readings that have fallen due, those of a backlog among them. */
  sampled: number
  readingsAcked: number
  duplicatesSent: number
  heldBackSent: number
  lateSent: number
  poisonSent: number
  payloadBytes: number
  redelivered: number
  /** Connections that were open and got lost, cut ones among them. */
  disconnects: number
  /** Connections that the simulator itself has cut: a fault. */
  cut: number
  /** MQTT bytes, all packets, over all sockets. */
  wireSentBytes: number
  wireReceivedBytes: number
  /** Devices that ended their stream. */
  ended: number
}

export function noCounts(): Counts {
  return {
    ...{ published: 0, acked: 0, sampled: 0, readingsAcked: 0, duplicatesSent: 0, heldBackSent: 0, lateSent: 0, poisonSent: 0 },
    ...{ payloadBytes: 0, redelivered: 0, disconnects: 0, cut: 0, wireSentBytes: 0, wireReceivedBytes: 0, ended: 0 }
  }
}

export function addCounts(all: readonly Counts[]): Counts {
  const sum = noCounts()
  for (const counts of all) for (const key of Object.keys(sum) as (keyof Counts)[]) sum[key] += counts[key]
  return sum
}

/** Counts a PUBLISH that is sent for the first time. */
export function countSent(counts: Counts, { kind, fault, payload }: Publication): void {
  counts.published++
  counts.payloadBytes += payload.length
  if (kind === 'duplicate') counts.duplicatesSent++
  if (kind !== 'reading') return
  if (fault === 'held-back') counts.heldBackSent++
  else if (fault === 'clock-back') counts.lateSent++
  else if (fault === 'out-of-range' || fault === 'future' || fault === 'undecodable') counts.poisonSent++
}
