/** A device as HTTP and `--json` show it: snake_case, times in RFC 3339, UTC. */
import { deviceConfigSettingsSchema } from '@tidemark/protocol'
import { z } from 'zod'
import { configStateOf } from '../processor/config-wanted.js'
import type { DeviceRow } from '../processor/registry.js'
import { isoTime } from '../serving/answers.js'

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
  config: z
    .object({
      revision: z.int(),
      settings: deviceConfigSettingsSchema,
      state: z.enum(['withheld', 'pending', 'applied', 'refused']).describe('withheld: a retired device gets none'),
      refused: z.string().nullable().describe('why the device will not have it')
    })
    .nullable()
    .describe('what is wanted of its own configuration, and what became of it'),
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

export function deviceJson(device: DeviceRow): DeviceJson {
  const { deviceId, status, ...row } = device
  return {
    device_id: deviceId,
    profile: row.profile,
    site: row.site,
    retired: row.retired,
    registered_at: isoTime(row.registeredMs),
    last_seen: row.seenMs === null ? null : isoTime(row.seenMs),
    watermark: row.watermarkMs === null ? null : isoTime(row.watermarkMs),
    idle: row.idle,
    config: configJson(device),
    ended: row.ended,
    status:
      status === null
        ? null
        : { state: status.state, session: status.session, agent: status.agent, epoch: status.epoch, since: isoTime(status.sinceMs) }
  }
}

function configJson(row: DeviceRow): DeviceJson['config'] {
  const state = configStateOf(row)
  if (row.config === null || state === null) return null
  return { ...row.config, state, refused: state === 'refused' ? (row.status?.config?.refused ?? null) : null }
}
