/** The gateway's HTTP: liveness, readiness, metrics. */
import type { Server } from 'node:http'
import { serve } from '@hono/node-server'
import { Hono } from 'hono'
import type { Metrics } from './metrics.js'

export interface HttpOptions {
  readonly host: string
  readonly port: number
  readonly metrics: Metrics
  /** null: ready; otherwise why not. */
  notReady(): string | null
}

/** Resolves once it listens. Rejects where it cannot. */
export function listenHttp({ host, port, metrics, notReady }: HttpOptions): Promise<{ port: number; close(): Promise<void> }> {
  const app = new Hono()
  app.get('/healthz', context => context.json({ status: 'ok' }))
  app.get('/readyz', context => {
    const reason = notReady()
    return reason === null ? context.json({ status: 'ready' }) : context.json({ status: 'not ready', reason }, 503)
  })
  app.get('/metrics', async context =>
    context.text(await metrics.registry.metrics(), 200, { 'content-type': metrics.registry.contentType })
  )
  app.notFound(context => context.json({ error: 'there are /healthz, /readyz and /metrics' }, 404))
  return new Promise((resolve, reject) => {
    const server = serve({ fetch: app.fetch, hostname: host, port }, address => {
      resolve({ port: address.port, close: () => closeServer(server as Server) })
    })
    server.once('error', reject)
  })
}

function closeServer(server: Server): Promise<void> {
  return new Promise(resolve => {
    server.close(() => resolve())
    server.closeAllConnections()
  })
}
