/** Readings and features over HTTP: read from memory and archive, as of one moment. */
import { DURATION_PATTERN, durationMs, rfc3339Ms } from '@tidemark/protocol'
import { z } from 'zod'
import { deviceIdSchema } from '../processor/registry.js'
import { asOfSchema, featureRowJson, isoTime, latestSchema, readingsSchema } from '../serving/answers.js'
import { END_OF_TIME_MS } from '../serving/as-of-query.js'
import { decodeCursor } from '../serving/reading-key.js'
import { type AsOfAnswer, ProfileNeededError, type Serving } from '../serving/serving.js'
import { unknownDevice } from './device-routes.js'
import { failures, HttpError } from './http-error.js'
import type { HttpApp, Routes } from './http-server.js'

/** What the routes need beside the rows. */
export interface Served {
  readonly serving: Serving
  /** Names of all metrics of all profiles that the gateway knows, and of the profiles. */
  readonly metrics: readonly string[]
  readonly profiles: readonly string[]
}

/** The longest range of event time that is read at once, ms. */
const RANGE_MS_MAX = 31 * 24 * 3_600_000

const READINGS_MAX = 10_000
const READINGS_DEFAULT = 1000
const METRICS_MAX = 64

/** Devices and times in one request. */
const WANTED_MAX = 1000

const TIME_TEXT = 'RFC 3339 with a zone, like 2026-11-24T13:00:00Z, or Unix ms'

const timeText = z
  .string()
  .max(40)
  .transform((text, context) => {
    const timeMs = /^-?\d{1,15}$/.test(text) ? Number(text) : rfc3339Ms(text)
    if (timeMs !== null && Math.abs(timeMs) <= END_OF_TIME_MS) return timeMs
    context.addIssue({ code: 'custom', message: `write ${TIME_TEXT}` })
    return z.NEVER
  })
  .describe(TIME_TEXT)

const time = z.union([timeText, z.int().min(-END_OF_TIME_MS).max(END_OF_TIME_MS)], { error: `write ${TIME_TEXT}` })

const duration = z.string().regex(DURATION_PATTERN, 'write a number and ms, s, m, h or d, like 2m').transform(durationMs)

const params = z.object({ id: deviceIdSchema })

export function servingRoutes(served: Served): Routes {
  return app => {
    addLatest(app, served)
    addReadings(app, served)
    addAsOf(app, served)
  }
}

function addLatest(app: HttpApp, { serving }: Served): void {
  const schema = {
    summary: "A device's latest feature row, of each of its profiles",
    params,
    response: { 200: latestSchema, ...failures(404, 503) }
  }
  app.get('/v1/devices/:id/features', { schema }, async ({ params: { id } }) => {
    const latest = await serving.latest(id)
    if (latest === null) throw unknownDevice(id)
    return { device_id: id, entry: latest.entry, ingest_time: isoTime(latest.ingestMs), rows: latest.rows.map(featureRowJson) }
  })
}

function addReadings(app: HttpApp, { serving, metrics: known }: Served): void {
  const querystring = z.object({
    from: timeText.describe(`event time: then or later; ${TIME_TEXT}`),
    to: timeText.describe(`event time: before; at most 31 days behind from; ${TIME_TEXT}`),
    metric: z
      .union([z.string(), z.array(z.string()).max(METRICS_MAX)])
      .optional()
      .describe('may be there several times; all metrics where it is not'),
    limit: z.coerce.number().int().min(1).max(READINGS_MAX).default(READINGS_DEFAULT),
    after: z.string().max(1024).optional().describe('what the last answer gave as next')
  })
  // not by status: what is sent is JSON already, made and checked in the worker
  const responses: Record<number, z.ZodType> = { 200: readingsSchema, ...failures(404, 503) }
  const schema = {
    summary: "A device's readings in a range of event time, archived or not yet",
    params,
    querystring,
    response: responses
  }
  app.get('/v1/devices/:id/readings', { schema }, async ({ params: { id }, query }, reply) => {
    const { from: fromMs, to: toMs, limit } = query
    if (fromMs >= toMs) throw new HttpError(400, 'invalid-request', 'querystring to: is not behind from')
    if (toMs - fromMs > RANGE_MS_MAX) throw new HttpError(400, 'invalid-request', 'querystring to: is more than 31 days behind from')
    const after = query.after === undefined ? null : decodeCursor(query.after)
    if (after === null && query.after !== undefined)
      throw new HttpError(400, 'invalid-request', 'querystring after: is no cursor; give what the last answer gave as next')
    const metrics = query.metric === undefined ? null : [...new Set([query.metric].flat())]
    const unknown = metrics?.find(name => !known.includes(name))
    if (unknown !== undefined)
      throw new HttpError(400, 'unknown-metric', `querystring metric: there is no "${unknown}"; there are ${known.join(', ')}`)
    const answer = await serving.readings({ deviceId: id, fromMs, toMs, after, limit, metrics })
    if (answer === null) throw unknownDevice(id)
    return reply.type('application/json; charset=utf-8').send(Buffer.from(answer.buffer))
  })
}

function addAsOf(app: HttpApp, { serving, profiles }: Served): void {
  const body = z.strictObject({
    wanted: z
      .array(z.strictObject({ device_id: deviceIdSchema, time }))
      .min(1)
      .max(WANTED_MAX),
    profile: z.string().optional().describe('needed where there are features of several'),
    embargo: duration.optional().describe('time that a row needs to reach whoever predicts, like 2m')
  })
  const schema = {
    summary: 'For each device and time the feature row that was available then, as a training set has it',
    body,
    response: { 200: asOfSchema, ...failures(503) }
  }
  app.post('/v1/features/as-of', { schema }, async ({ body: { wanted, profile, embargo } }) => {
    const request = {
      wanted: wanted.map(({ device_id: deviceId, time: timeMs }) => ({ deviceId, timeMs })),
      profile: profile ?? null,
      embargoMs: embargo ?? 0
    }
    const answer = await serving.asOf(request).catch(error => {
      if (!(error instanceof ProfileNeededError)) throw error
      throw new HttpError(400, 'profile-needed', error.message)
    })
    if (profile !== undefined && !profiles.includes(profile) && answer.rows.every(row => row === null))
      throw new HttpError(400, 'unknown-profile', `body profile: there is no profile "${profile}"; there are ${profiles.join(', ')}`)
    return asOfJson(request.wanted, answer)
  })
}

function asOfJson(wanted: readonly { deviceId: string; timeMs: number }[], { profile, entry, ingestMs, rows }: AsOfAnswer) {
  return {
    profile,
    entry,
    ingest_time: isoTime(ingestMs),
    rows: wanted.map(({ deviceId, timeMs }, k) => {
      const row = rows[k]
      return {
        device_id: deviceId,
        time: isoTime(timeMs),
        age_ms: row === null ? null : timeMs - Number(row.as_of),
        features: row === null ? null : featureRowJson(row)
      }
    })
  }
}
