/**
 * Who fails when: labels for a model that predicts failures, from the physics of the machines (machine.ts) and not from what they
 * measured. After a failure the machine stands for its repair and begins another life of its bearing; while it stands there is nothing
 * to predict, and so no label. Pure.
 */
import { deviceOf, type RunPlan, trueTimeMs } from './device.js'
import { failuresAround } from './machine.js'

export interface Label {
  readonly deviceId: string
  readonly timeMs: number
  /** 1: the machine fails within the horizon after `timeMs`. */
  readonly label: 0 | 1
  /** Its next failure after `timeMs`, Unix ms; perhaps after the end of the run. */
  readonly failsMs: number
}

/**
 * A label at each multiple of `everyMs` (of Unix time) at which a device was measured, by device and time. `seqs[i]` is the highest seq
 * of the i-th device of the run.
 */
export function* labelsOf(plan: RunPlan, seqs: ArrayLike<number>, everyMs: number, withinMs: number): Generator<Label> {
  for (let i = 0; i < plan.devices; i++) {
    const device = deviceOf(plan, plan.firstDevice + i)
    if (seqs[i] === 0) continue
    const lastMs = trueTimeMs(plan, device, seqs[i]) + plan.intervalMs
    for (let timeMs = Math.ceil(trueTimeMs(plan, device, 1) / everyMs) * everyMs; timeMs <= lastMs; timeMs += everyMs) {
      const around = failuresAround(device.machine, timeMs)
      if (timeMs < around.lastMs + device.machine.repairMs) continue
      yield { deviceId: device.id, timeMs, label: around.nextMs <= timeMs + withinMs ? 1 : 0, failsMs: around.nextMs }
    }
  }
}
