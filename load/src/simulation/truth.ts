/**
 * What really happened, as only the simulation can know it: every reading that was sampled, every message that was acked. The
 * checks compare it with what the archive says. No part that is simulated reads it.
 */
import type { Value } from '@tidemark/protocol'

/** What may have become of a reading. `destroyed`: the disk that held it was thrown away before it was acked. */
export type Fate = 'delivered' | 'shed' | 'destroyed'

/** A physical reading. */
export interface SampledReading {
  readonly deviceId: string
  /** 1, 2, 3, … in the order of sampling; travels in the metric `serial`. */
  readonly serial: number
  readonly eventTimeMs: number
  readonly values: readonly Value[]
  fate: Fate
  /** Whether the agent let go of it because a PUBACK said that the gateway has it. */
  isAcked: boolean
}

export interface Garbage {
  readonly deviceId: string
  readonly payload: Uint8Array
  isAcked: boolean
}

export class Truth {
  readonly readings = new Map<string, SampledReading>()
  readonly garbage: Garbage[] = []
  /** Messages whose PUBACK left the gateway. */
  readonly ackedMessages = new Set<number>()
  /** Devices that went on from an image of their buffer: seqs of the life that was thrown away may stay open for ever. */
  readonly restored = new Set<string>()
  private messages = 0

  nextMessage(): number {
    return ++this.messages
  }

  note(deviceId: string, serial: number, eventTimeMs: number, values: readonly Value[]): void {
    this.readings.set(keyOf(deviceId, serial), { deviceId, serial, eventTimeMs, values, fate: 'delivered', isAcked: false })
  }

  of(deviceId: string, serial: number): SampledReading | undefined {
    return this.readings.get(keyOf(deviceId, serial))
  }
}

function keyOf(deviceId: string, serial: number): string {
  return `${deviceId}/${serial}`
}
