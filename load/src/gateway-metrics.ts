/** What a gateway says of itself on /metrics. */
import { request } from 'undici'

export type GatewayMetrics = ReadonlyMap<string, number>

/** Samples of the Prometheus text format by name; samples that differ only in labels are added up. */
export function parseMetrics(text: string): GatewayMetrics {
  const metrics = new Map<string, number>()
  for (const line of text.split('\n')) {
    const match = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{[^}]*\})? (\S+)$/.exec(line)
    if (match) metrics.set(match[1], (metrics.get(match[1]) ?? 0) + Number(match[2]))
  }
  return metrics
}

export async function readMetrics(httpUrl: string): Promise<GatewayMetrics> {
  const { body } = await request(`${httpUrl}/metrics`)
  return parseMetrics(await body.text())
}
