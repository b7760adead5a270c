/** A device as HTTP and `--json` show it: snake_case, times in RFC 3339, UTC. */
import { z } from 'zod'
import type { DeviceRow } from '../processor/registry.js'

const time = z.iso.datetime()

export const deviceSchema = z.object({
  device_id: z.string(),
  profile: z.string().nullable().describe('of its JSON readings that name none'),
  site: z.string().nullable(),
  retired: z.boolean(),
  registered_at: time.describe('ingest time at which it became known'),
  last_seen: time.nullable().describe('ingest time of its last message'),
  watermark: time.nullable().describe('no reading before it is expected any more'),
  idle: z.boolean().describe('no readings for longer than the idle timeout'),
  ended: z.boolean().describe('it said that it ends, and has sent nothing since'),
  status: z
    .object({
      state: z.enum(['online', 'offline']),
      session: z.string(),
      agent: z.string().nullable().describe("the agent's version"),
      epoch: z.number().nullable(),
      since: time
    })
    .nullable()
    .describe('what its status topic said last')
})

export type DeviceJson = z.output<typeof deviceSchema>

export function deviceJson({ deviceId, status, ...row }: DeviceRow): DeviceJson {
  return {
    device_id: deviceId,
    profile: row.profile,
    site: row.site,
    retired: row.retired,
    registered_at: isoTime(row.registeredMs),
    last_seen: row.seenMs === null ? null : isoTime(row.seenMs),
    watermark: row.watermarkMs === null ? null : isoTime(row.watermarkMs),
    idle: row.idle,
    ended: row.ended,
    status:
      status === null
        ? null
        : { state: status.state, session: status.session, agent: status.agent, epoch: status.epoch, since: isoTime(status.sinceMs) }
  }
}

function isoTime(ms: number): string {
  return new Date(ms).toISOString()
}
