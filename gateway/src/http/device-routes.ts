/** The device registry over HTTP. A change is a control frame of the log; it is answered once the processor has applied it. */
import { z } from 'zod'
import { type DeviceRow, type DeviceSettings, deviceIdSchema, deviceSettingsSchema } from '../processor/registry.js'
import { deviceJson, deviceSchema } from './device-json.js'
import { failures, HttpError } from './http-error.js'
import type { Routes } from './http-server.js'

/** The registry as the routes need it. */
export interface Registry {
  devices(): Promise<readonly DeviceRow[]>
  device(deviceId: string): Promise<DeviceRow | null>
  /** Resolves with the device when the change is durable and applied. */
  set(deviceId: string, settings: DeviceSettings): Promise<DeviceRow | null>
  /** Names of the profiles that the gateway knows. */
  readonly profiles: readonly string[]
}

const params = z.object({ id: deviceIdSchema })
const errors = failures(404, 503)

export function deviceRoutes(registry: Registry): Routes {
  return app => {
    const list = { summary: 'All devices, by ID', response: { 200: z.object({ devices: z.array(deviceSchema) }), ...failures(503) } }
    app.get('/v1/devices', { schema: list }, async () => ({ devices: (await registry.devices()).map(deviceJson) }))

    const show = { summary: 'One device', params, response: { 200: deviceSchema, ...errors } }
    app.get('/v1/devices/:id', { schema: show }, async ({ params: { id } }) => known(id, await registry.device(id)))

    const set = {
      summary: 'Sets something of a device, and registers it where it is not known; what is left out stays, null clears',
      params,
      body: deviceSettingsSchema,
      response: { 200: deviceSchema, ...errors }
    }
    app.post('/v1/devices/:id', { schema: set }, async ({ params: { id }, body }) => {
      if (typeof body.profile === 'string' && !registry.profiles.includes(body.profile)) {
        throw new HttpError(
          400,
          'unknown-profile',
          `body profile: there is no profile "${body.profile}"; there are ${registry.profiles.join(', ')}`
        )
      }
      return known(id, await registry.set(id, body))
    })
  }
}

function known(deviceId: string, row: DeviceRow | null): z.output<typeof deviceSchema> {
  if (row === null) throw unknownDevice(deviceId)
  return deviceJson(row)
}

export function unknownDevice(deviceId: string): HttpError {
  return new HttpError(404, 'unknown-device', `there is no device ${deviceId}: it has sent nothing, and nobody has set it`)
}
