/**
 * The gateway's HTTP: fastify, each route checked by zod, described by itself at /v1/openapi.json. What is served stands in the
 * route files beside this one; here is what they share: checks, errors, start and stop.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import swagger from '@fastify/swagger'
import Fastify, { type FastifyBaseLogger, type FastifyError, type FastifyInstance, type RawServerDefault } from 'fastify'
import {
  createJsonSchemaTransform,
  hasZodFastifySchemaValidationErrors,
  serializerCompiler,
  validatorCompiler,
  type ZodTypeProvider
} from 'fastify-type-provider-zod'
import { z } from 'zod'
import { LogWriteError } from '../log/log-client.js'
import { PipelineBehindError } from '../pipeline/pipeline-client.js'

/** A fastify that takes zod schemas. */
export type HttpApp = FastifyInstance<RawServerDefault, IncomingMessage, ServerResponse, FastifyBaseLogger, ZodTypeProvider>

/** Adds routes to the server. */
export type Routes = (app: HttpApp) => void

export interface HttpServer {
  readonly port: number
  close(): Promise<void>
}

/** What every error answers with. */
export const errorSchema = z.object({ error: z.string().describe('what is wrong, and what to do') })

/** A request that cannot be answered as it is; thrown by routes, its message is the answer. */
export class HttpError extends Error {
  constructor(
    readonly statusCode: number,
    message: string
  ) {
    super(message)
  }
}

const BODY_BYTES_MAX = 1024 * 1024

/** Resolves once it listens. Rejects where it cannot. */
export async function listenHttp(
  { host, port }: { readonly host: string; readonly port: number },
  routes: readonly Routes[]
): Promise<HttpServer> {
  const app = await buildHttp(routes)
  try {
    await app.listen({ host, port, backlog: 511 })
  } catch (error) {
    await app.close()
    throw error
  }
  const address = app.server.address()
  return { port: typeof address === 'object' && address !== null ? address.port : port, close: () => app.close() }
}

/** The server before it listens. */
export async function buildHttp(routes: readonly Routes[]): Promise<HttpApp> {
  const app = Fastify({ bodyLimit: BODY_BYTES_MAX, forceCloseConnections: true }).withTypeProvider<ZodTypeProvider>()
  app.setValidatorCompiler(validatorCompiler)
  app.setSerializerCompiler(serializerCompiler)
  app.setErrorHandler((error: FastifyError | HttpError, _request, reply) => {
    return reply.status(statusOf(error)).send({ error: messageOf(error) })
  })
  await app.register(swagger, {
    openapi: { openapi: '3.1.0', info: { title: 'Tidemark gateway', description: 'Devices, and how the gateway is.', version: '1' } },
    transform: createJsonSchemaTransform({ skipList: ['/v1/openapi.json'] })
  })
  app.register(async scope => {
    for (const add of routes) add(scope.withTypeProvider<ZodTypeProvider>())
    scope.get('/v1/openapi.json', () => app.swagger())
  })
  app.setNotFoundHandler((request, reply) =>
    reply.status(404).send({ error: `there is no ${request.method} ${request.url.split('?')[0]}: /v1/openapi.json lists what there is` })
  )
  return app
}

/** What cannot be done just now, and could be later, is 503. */
function statusOf(error: Error & { statusCode?: number | undefined }): number {
  return error instanceof PipelineBehindError || error instanceof LogWriteError ? 503 : (error.statusCode ?? 500)
}

/** For bad input: each fault with the name of the field, as the person wrote it. */
function messageOf(error: FastifyError | HttpError): string {
  if (!hasZodFastifySchemaValidationErrors(error)) return error.message
  return error.validation
    .map(({ instancePath, message }) => {
      const field = instancePath.slice(1).replaceAll('/', '.')
      const where = 'validationContext' in error ? `${error.validationContext}` : 'request'
      return `${where}${field === '' ? '' : ` ${field}`}: ${message}`
    })
    .join('; ')
}
