/** What a run leaves behind for its verification: its plan, and how far each device came. As a file it is JSON in snake_case. */
import { z } from 'zod'
import { backlogReadings, phaseMs, type RunPlan } from './device.js'
import { DEVICES_MAX, INTERVAL_MS_MAX, UINT32_MAX } from './limits.js'

export interface Run {
  readonly plan: RunPlan
  /** The highest seq of each device, in the order of their indices. */
  readonly seqs: readonly number[]
}

/** A run that sampled for `forMs`, and was not stopped early. */
export function runOf(plan: RunPlan, forMs: number): Run {
  const seqs = Array.from({ length: plan.devices }, (_, i) => {
    const leftMs = forMs - phaseMs(plan, plan.firstDevice + i)
    return backlogReadings(plan, plan.firstDevice + i) + Math.max(0, Math.ceil(leftMs / plan.intervalMs))
  })
  return { plan, seqs }
}

const rate = z.number().min(0).max(1)

const runSchema = z.object({
  seed: z.int().min(0).max(UINT32_MAX),
  first_device: z.int().min(0).max(DEVICES_MAX).default(0),
  devices: z.int().min(1).max(DEVICES_MAX),
  start_ms: z.int(),
  interval_ms: z.int().min(1).max(INTERVAL_MS_MAX),
  rates: z.object({ duplicates: rate, late: rate, poison: rate }),
  troubles: z.object({ disconnects: rate, delays: rate, silence: rate, skew: rate }).optional(),
  backlog: z.object({ devices: z.int().min(0).max(DEVICES_MAX), ms: z.int().min(0) }).optional(),
  seqs: z.array(z.int().min(0).max(UINT32_MAX))
})

/** The run in the form that `--out` writes. */
export function runToJson({ plan, seqs }: Run): z.input<typeof runSchema> {
  return {
    seed: plan.seed,
    first_device: plan.firstDevice,
    devices: plan.devices,
    start_ms: plan.startMs,
    interval_ms: plan.intervalMs,
    rates: { ...plan.rates },
    ...(plan.troubles === undefined ? {} : { troubles: { ...plan.troubles } }),
    ...(plan.backlog === undefined ? {} : { backlog: { ...plan.backlog } }),
    seqs: [...seqs]
  }
}

/** Reads what `runToJson` wrote, from text. Throws an Error that says what is wrong with it. */
export function parseRun(text: string): Run {
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch (cause) {
    throw new Error('it is no JSON: give the file that `tidemark-sim run --out` wrote', { cause })
  }
  const checked = runSchema.safeParse(json)
  if (!checked.success) {
    const issue = checked.error.issues[0]
    throw new Error(`${issue.path.join('.') || 'it'}: ${issue.message}; give the file that \`tidemark-sim run --out\` wrote`)
  }
  const {
    seed,
    first_device: firstDevice,
    devices,
    start_ms: startMs,
    interval_ms: intervalMs,
    rates,
    seqs,
    troubles,
    backlog
  } = checked.data
  if (seqs.length !== devices) throw new Error(`seqs has ${seqs.length} elements for ${devices} devices`)
  const more = { ...(troubles === undefined ? {} : { troubles }), ...(backlog === undefined ? {} : { backlog }) }
  return { plan: { seed, firstDevice, devices, startMs, intervalMs, rates, ...more }, seqs }
}
