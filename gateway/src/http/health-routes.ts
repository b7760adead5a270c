/** Liveness, readiness and metrics: for whoever watches the gateway. */
import { z } from 'zod'
import { failures } from './http-error.js'
import type { Routes } from './http-server.js'
import type { Metrics } from './metrics.js'

export interface Health {
  readonly metrics: Metrics
  /** null: ready; otherwise why not. */
  notReady(): string | null
}

export function healthRoutes({ metrics, notReady }: Health): Routes {
  return app => {
    const alive = { summary: 'The process runs', response: { 200: z.object({ status: z.literal('ok') }) } }
    app.get('/healthz', { schema: alive }, () => ({ status: 'ok' as const }))

    const ready = {
      summary: 'The disk takes log and archive',
      response: {
        200: z.object({ status: z.literal('ready') }),
        503: z.object({ status: z.literal('not ready'), reason: z.string() })
      }
    }
    app.get('/readyz', { schema: ready }, (_request, reply) => {
      const reason = notReady()
      if (reason === null) return { status: 'ready' as const }
      reply.status(503)
      return { status: 'not ready' as const, reason }
    })

    const text = { description: "Prometheus' text format", content: { 'text/plain': { schema: z.string() } } }
    app.get('/metrics', { schema: { summary: 'Metrics', response: { 200: text, ...failures() } } }, async (_request, reply) =>
      reply.header('content-type', metrics.registry.contentType).send(await metrics.registry.metrics())
    )
  }
}
