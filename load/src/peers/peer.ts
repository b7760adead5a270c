/** What a peer is to the comparison: something that takes readings in, can be killed and started again, and tells what it kept. */
import type { Quantiles } from '@tidemark/simulator'

/** Readings of one load: `devices` devices, so many readings a second together. */
export interface Load {
  readonly devices: number
  readonly readingsPerS: number
  readonly forMs: number
  readonly seed: number
  /** Called so long after the sampling has begun. */
  readonly during?: { readonly atMs: number; readonly call: () => void }
}

export interface Taken {
  readonly sent: number
  readonly acked: number
  readonly pubackMs: Quantiles
}

/** What a peer holds, of everything that it was sent. */
export interface Kept {
  readonly rows: number
  /** Different readings among them. */
  readonly readings: number
}

export interface Peer {
  readonly name: string
  /** What an ack is worth, in a sentence. */
  readonly durability: string
  /** Whether a command line is one of its processes. */
  isMine(commandLine: string): boolean
  start(): Promise<void>
  /** SIGKILL to all of it, and start it again. */
  killAndRestart(): Promise<void>
  stop(): Promise<void>
  send(load: Load): Promise<Taken>
  /** Grows as long as it is still working on what it was sent. */
  storedBytes(): number
  kept(): Promise<Kept>
}
