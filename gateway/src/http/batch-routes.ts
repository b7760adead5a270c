/**
 * Batches over HTTP, for an agent whose MQTT cannot get through: the very bytes that it would publish, as durable when they are
 * answered, and the same frame in the log.
 */
import { DEVICE_ID_LENGTH_MAX, PAYLOAD_BYTES_MAX } from '@tidemark/protocol'
import type { ZodTypeProvider } from 'fastify-type-provider-zod'
import { z } from 'zod'
import type { HttpAdmissions, HttpRefusal } from '../front/http-admission.js'
import { binaryBody } from './binary-body.js'
import { failures, HttpError } from './http-error.js'
import type { Routes } from './http-server.js'

const MEDIA_TYPES = ['application/msgpack', 'application/vnd.msgpack', 'application/x-msgpack', 'application/octet-stream']

/** Seconds after which a device, or all of them, may try again. */
const RETRY_AFTER_S = 1

const deviceId = z.string().max(DEVICE_ID_LENGTH_MAX).optional()

export function batchRoutes(admissions: HttpAdmissions): Routes {
  return app => {
    app.register(async scope => {
      scope.addContentTypeParser(MEDIA_TYPES, { parseAs: 'buffer', bodyLimit: PAYLOAD_BYTES_MAX }, (_request, body, done) =>
        done(null, body)
      )
      const schema = {
        summary: "Takes a device's batch in: the bytes that it would publish over MQTT",
        consumes: MEDIA_TYPES,
        headers: z.looseObject({ 'x-tidemark-device': deviceId.describe('the device ID; or the query says it') }),
        querystring: z.object({ device: deviceId.describe('the device ID; or the header x-tidemark-device says it') }),
        body: binaryBody('a batch, MessagePack, as protocol/README.md says'),
        response: { 204: z.null().describe('it is durable'), ...failures(413, 415, 429, 503) }
      }
      const typed = scope.withTypeProvider<ZodTypeProvider>()
      typed.post('/v1/batches', { schema, bodyLimit: PAYLOAD_BYTES_MAX }, async ({ headers, query, body }, reply) => {
        const admission = admissions.admit(deviceOf(headers['x-tidemark-device'], query.device), body)
        if (!admission.ok) throw refused(admission.refusal)
        await admission.durable
        return reply.status(204).send(null)
      })
    })
  }
}

function deviceOf(header: string | undefined, query: string | undefined): string {
  const device = header ?? query
  if (device === undefined)
    throw new HttpError(400, 'invalid-request', 'name the device: the header x-tidemark-device, or ?device= in the URL')
  if (query !== undefined && query !== device)
    throw new HttpError(400, 'invalid-request', `the header names the device ${device}, the URL ${query}: which one is it?`)
  return device
}

function refused(refusal: HttpRefusal): HttpError {
  switch (refusal) {
    case 'client-id':
    case 'wrong-topic':
    case 'topic-of-another-device':
      return new HttpError(400, 'invalid-request', 'that is no device ID: use 1 to 64 of A-Z a-z 0-9 . _ -')
    case 'payload-too-large':
      return new HttpError(413, 'too-large', `a batch has at most ${PAYLOAD_BYTES_MAX} bytes: send fewer readings in each`)
    case 'device-pending':
      return new HttpError(429, 'too-many-requests', 'batches of this device wait to be durable already: await them', RETRY_AFTER_S)
    case 'log-full':
      return new HttpError(503, 'busy', 'more waits for the log than it should: send this again later', RETRY_AFTER_S)
    default:
      return refusal satisfies never
  }
}
