/** The part of the configuration that says how the archive is kept: compaction and retention. */
import { DURATION_PATTERN, durationMs } from '@tidemark/protocol'
import { validateDetailed } from 'node-cron'
import { z } from 'zod'
import type { MaintenancePolicy } from './pass.js'

export interface MaintenanceConfig {
  /** When a pass runs: a cron expression, UTC. */
  readonly every: string
  readonly policy: MaintenancePolicy
}

const MIB = 2 ** 20
const SIZE_UNIT_BYTES = { KiB: 2 ** 10, MiB: MIB, GiB: 2 ** 30, KB: 1e3, MB: 1e6, GB: 1e9 } as const
const SIZE = /^(\d{1,6})(KiB|MiB|GiB|KB|MB|GB)$/
/** Below this, in bytes, DuckDB cannot sort. */
const MEMORY_BYTES_MIN = 64 * MIB

const duration = z.string().regex(DURATION_PATTERN, 'write a number and ms, s, m, h or d, like 10m').transform(durationMs)
const keptFor = z.union([z.literal(0), duration], 'write a number and s, m, h or d, like 7d, or 0 to keep it for ever')
const size = z
  .string()
  .regex(SIZE, 'write a number and KiB, MiB or GiB, like 512MiB')
  .transform(text => {
    const [, number, unit] = SIZE.exec(text)!
    return Number(number) * SIZE_UNIT_BYTES[unit as keyof typeof SIZE_UNIT_BYTES]
  })
const cron = z.string().check(context => {
  const { errors } = validateDetailed(context.value)
  if (errors.length === 0) return
  const message = `"${context.value}" is no cron expression (${errors[0].message}); write one like "*/10 * * * *"`
  context.issues.push({ code: 'custom', message, input: context.value })
})

export const compactionSchema = z.strictObject({
  every: cron.default('*/10 * * * *'),
  after: duration.prefault('30m'),
  min_files: z.int().min(2).default(4),
  keep: duration.prefault('10m'),
  target: size.prefault('512MiB'),
  memory: size.pipe(z.number().min(MEMORY_BYTES_MIN, 'give it 64MiB at least')).prefault('256MiB')
})

export const retentionSchema = z.strictObject({
  raw: keptFor.prefault('7d'),
  processed: keptFor.prefault(0),
  curated: keptFor.prefault(0),
  quarantine: keptFor.prefault('90d')
})

export function maintenanceConfig(
  compaction: z.output<typeof compactionSchema>,
  retentionMs: z.output<typeof retentionSchema>
): MaintenanceConfig {
  return {
    every: compaction.every,
    policy: {
      afterMs: compaction.after,
      minFiles: compaction.min_files,
      keepMs: compaction.keep,
      targetBytes: compaction.target,
      memoryMiB: Math.floor(compaction.memory / MIB),
      retentionMs: { ...retentionMs, resolved: retentionMs.quarantine } // a resolution is younger than what it resolves
    }
  }
}
