/** Asks an HTTP server for JSON, or one bare value. The answer is bounded in time and bytes; redirects are not followed. */
import type { Profile } from '@tidemark/protocol'
import { Agent, request } from 'undici'
import { basicAuthentication, withoutSecrets } from '../config.js'
import { ANSWER_BYTES_MAX } from '../limits.js'
import { type JsonMapping, putValues } from './json-values.js'
import { Measurement, mappedMetrics, messageOf } from './mapping.js'
import type { LiveSource } from './source.js'

export interface HttpConfig {
  /** May hold a user and a password, for basic authentication. */
  readonly url: string
  /** May hold secrets. */
  readonly headers: Readonly<Record<string, string>>
  readonly metrics: Readonly<Record<string, JsonMapping>>
}

export function openHttp(config: HttpConfig, profile: Profile): LiveSource {
  const metrics = mappedMetrics('http', profile, Object.keys(config.metrics))
  const url = withoutSecrets(config.url)
  const { host, pathname } = new URL(url)
  const headers = { accept: 'application/json', ...basicAuthentication(config.url), ...config.headers }
  // One connection is enough: a measurement is a single request.
  const dispatcher = new Agent({ connections: 1, pipelining: 1, maxResponseSize: ANSWER_BYTES_MAX })
  return {
    key: `http:${host}${pathname}`,
    metrics: [...metrics.keys()],
    async measure(signal) {
      const measurement = new Measurement(metrics)
      putValues(measurement, await fetchText(url, headers, dispatcher, signal), config.metrics)
      return measurement.done()
    },
    close: () => dispatcher.destroy()
  }
}

async function fetchText(url: string, headers: Record<string, string>, dispatcher: Agent, signal: AbortSignal): Promise<string> {
  try {
    const { statusCode, body } = await request(url, { headers, dispatcher, signal })
    if (statusCode === 200) return await body.text()
    body.on('error', () => {}).destroy() // it says so when it is not read to its end
    throw new Error(`the server answers ${statusCode}`)
  } catch (error) {
    throw new Error(`${new URL(url).origin}: ${describe(error, signal)}`, { cause: error }) // a query may hold a secret
  }
}

function describe(error: unknown, signal: AbortSignal): string {
  if (signal.aborted) return 'no answer in time'
  const code = error instanceof Error && 'code' in error ? error.code : ''
  if (code === 'ECONNREFUSED') return 'nothing listens there'
  if (code === 'UND_ERR_RES_EXCEEDED_MAX_SIZE') return `the answer is larger than ${ANSWER_BYTES_MAX} bytes`
  return messageOf(error)
}
