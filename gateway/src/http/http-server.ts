/**
 * The gateway's HTTP: fastify, each route checked by zod, described by itself at /v1/openapi.json. What is served stands in the
 * route files beside this one; here is what they share: the token, errors, start and stop.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import swagger from '@fastify/swagger'
import Fastify, { type FastifyBaseLogger, type FastifyError, type FastifyInstance, type RawServerDefault } from 'fastify'
import { createJsonSchemaTransform, serializerCompiler, validatorCompiler, type ZodTypeProvider } from 'fastify-type-provider-zod'
import { z } from 'zod'
import { failureOf, failures, HttpError } from './http-error.js'
import { isAuthorized } from './http-token.js'

/** A fastify that takes zod schemas. */
export type HttpApp = FastifyInstance<RawServerDefault, IncomingMessage, ServerResponse, FastifyBaseLogger, ZodTypeProvider>

/** Adds routes to the server. */
export type Routes = (app: HttpApp) => void

export interface HttpServer {
  readonly port: number
  close(): Promise<void>
}

export interface HttpOptions {
  /** What every request must bear, save to see that the gateway lives; null: nothing, and the server listens on loopback. */
  readonly token: string | null
  /** Told of what went wrong inside: whoever asked learns only that it did. */
  onFault(error: Error): void
}

/** A gateway's life is shown to whoever asks: what restarts it has no token. */
const OPEN_ROUTES = ['/healthz', '/readyz']

const BODY_BYTES_MAX = 1024 * 1024

/** Resolves once it listens. Rejects where it cannot. */
export async function listenHttp(
  { host, port }: { readonly host: string; readonly port: number },
  routes: readonly Routes[],
  options: HttpOptions
): Promise<HttpServer> {
  const app = await buildHttp(routes, options)
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
export async function buildHttp(routes: readonly Routes[], { token, onFault }: HttpOptions): Promise<HttpApp> {
  const app = Fastify({ bodyLimit: BODY_BYTES_MAX, forceCloseConnections: true }).withTypeProvider<ZodTypeProvider>()
  app.setValidatorCompiler(validatorCompiler)
  app.setSerializerCompiler(serializerCompiler)
  app.setErrorHandler((error: FastifyError | HttpError, _request, reply) => {
    const { statusCode, code, message, retryAfterS } = failureOf(error)
    if (code === 'internal') onFault(error)
    if (retryAfterS !== undefined) reply.header('retry-after', String(retryAfterS))
    return reply.status(statusCode).send({ code, message })
  })
  if (token !== null) {
    app.addHook('onRequest', async (request, reply) => {
      if (OPEN_ROUTES.includes(request.routeOptions.url ?? '') || isAuthorized(request.headers.authorization, token)) return
      reply.header('www-authenticate', 'Bearer')
      throw new HttpError(401, 'unauthorized', 'this gateway wants its token: send the header "Authorization: Bearer TOKEN"')
    })
  }
  await describe(app, token !== null)
  app.register(async scope => {
    const typed = scope.withTypeProvider<ZodTypeProvider>()
    for (const add of routes) add(typed)
    const self = { summary: 'This description', response: { 200: z.record(z.string(), z.unknown()), ...failures() } }
    typed.get('/v1/openapi.json', { schema: self }, () => ({ ...app.swagger() }))
  })
  app.setNotFoundHandler(request => {
    const path = request.url.split('?')[0]
    throw new HttpError(404, 'not-found', `there is no ${request.method} ${path}: /v1/openapi.json lists what there is`)
  })
  return app
}

async function describe(app: HttpApp, needsToken: boolean): Promise<void> {
  const bearer = {
    components: { securitySchemes: { bearer: { type: 'http' as const, scheme: 'bearer' } } },
    security: [{ bearer: [] }]
  }
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'Tidemark gateway',
        description: 'Devices, their readings and features, and how the gateway is. Times are RFC 3339, UTC.',
        version: '1',
        license: { name: 'Apache-2.0', identifier: 'Apache-2.0' }
      },
      ...(needsToken ? bearer : {})
    },
    transform: createJsonSchemaTransform({ skipList: [] })
  })
}
