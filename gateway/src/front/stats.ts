/** What a front counts, and how the counts of several become one. */
import type { Refusal } from './admission.js'

/** Upper bounds of the histogram's buckets, seconds; one more holds what is above them all. */
export const PUBACK_BOUNDS_S: readonly number[] = [0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5]

export type FrontRefusal = Refusal | 'packet-too-large' | 'client-id' | 'log' | 'stale-death'

export interface FrontStats {
  connections: number
  /** Of them: served by light sessions. */
  lightSessions: number
  published: number
  acked: number
  refused: Record<FrontRefusal, number>
  /** From the arrival of a publish to its PUBACK: publishes by bucket, and the sum of their times. */
  pubacks: number[]
  pubackSeconds: number
}

/** What a front's process uses. */
export interface ProcessStats {
  readonly residentBytes: number
  readonly cpuSeconds: number
  /** The 99th percentile of the last interval's event loop delay. */
  readonly loopDelaySeconds: number
}

export function emptyStats(): FrontStats {
  return {
    connections: 0,
    lightSessions: 0,
    published: 0,
    acked: 0,
    refused: {
      'wrong-topic': 0,
      'topic-of-another-device': 0,
      'payload-too-large': 0,
      'packet-too-large': 0,
      'client-id': 0,
      log: 0,
      'stale-death': 0
    },
    pubacks: new Array<number>(PUBACK_BOUNDS_S.length + 1).fill(0),
    pubackSeconds: 0
  }
}

/** Counts a PUBACK that was due after these milliseconds. */
export function observePuback(stats: FrontStats, milliseconds: number): void {
  const seconds = milliseconds / 1000
  let bucket = 0
  while (bucket < PUBACK_BOUNDS_S.length && seconds > PUBACK_BOUNDS_S[bucket]) bucket++
  stats.pubacks[bucket]++
  stats.pubackSeconds += seconds
}

export function sumOf(all: readonly FrontStats[]): FrontStats {
  const sum = emptyStats()
  for (const stats of all) {
    sum.connections += stats.connections
    sum.lightSessions += stats.lightSessions
    sum.published += stats.published
    sum.acked += stats.acked
    sum.pubackSeconds += stats.pubackSeconds
    for (const [i, count] of stats.pubacks.entries()) sum.pubacks[i] += count
    for (const refusal of Object.keys(sum.refused) as FrontRefusal[]) sum.refused[refusal] += stats.refused[refusal]
  }
  return sum
}
