/** Liveness, readiness and metrics: for whoever watches the gateway. */
import { z } from 'zod'
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

    app.get('/metrics', { schema: { summary: "Metrics in Prometheus' text format" } }, async (_request, reply) =>
      reply.header('content-type', metrics.registry.contentType).send(await metrics.registry.metrics())
    )
  }
}
