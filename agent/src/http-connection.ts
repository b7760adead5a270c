/**
 * Posts batches to a gateway over HTTP, for when MQTT does not get through: the same bytes, and 2xx only when they are durable.
 * undici is loaded here, and this file only when it is used. Like an MQTT connection it is never reused once it has failed.
 */
import { Pool } from 'undici'
import { basicAuthentication, withoutSecrets } from './config.js'
import { POST_MS_MAX, POSTS_MAX, RETRY_AFTER_MS_MAX } from './limits.js'

export interface HttpConnectionEvents {
  /** Called once. `mayBeRefusal`: the gateway answered, and would not have that batch. */
  readonly closed: (reason: string, mayBeRefusal: boolean, retryAfterMs: number) => void
}

const PATH = '/v1/batches'

export class HttpConnection {
  private readonly pool: Pool
  private readonly headers: Record<string, string>
  private isClosed = false

  constructor(
    private readonly url: string,
    deviceId: string,
    token: string | null,
    private readonly events: HttpConnectionEvents
  ) {
    this.pool = new Pool(new URL(url).origin, { connections: POSTS_MAX, headersTimeout: POST_MS_MAX, bodyTimeout: POST_MS_MAX })
    const authentication = token === null ? basicAuthentication(url) : { authorization: `Bearer ${token}` }
    this.headers = { 'content-type': 'application/msgpack', 'x-tidemark-device': deviceId, ...authentication }
  }

  /** Sends a batch; `acked` is called when the gateway says that it is durable, and never where the connection fails before. */
  publish(payload: Uint8Array, acked: () => void): void {
    this.post(payload).then(
      failure => {
        if (this.isClosed) return
        if (failure === null) acked()
        else this.close(failure.reason, failure.mayBeRefusal, failure.retryAfterMs)
      },
      error => this.close(describe(error, this.url), false, 0)
    )
  }

  /** Ends it without a word; what is on its way is not waited for. */
  drop(): void {
    this.isClosed = true
    this.pool.destroy().catch(() => undefined) // it is gone either way
  }

  private async post(payload: Uint8Array) {
    const { statusCode, headers, body } = await this.pool.request({ path: PATH, method: 'POST', headers: this.headers, body: payload })
    await body.dump()
    if (statusCode >= 200 && statusCode < 300) return null
    const isBusy = statusCode === 429 || statusCode >= 500
    const isLocked = statusCode === 401 || statusCode === 403 || statusCode === 404
    return {
      reason: `${withoutSecrets(this.url)} answers ${statusCode}${isLocked ? ': check gateway.http and gateway.http_token_file' : ''}`,
      mayBeRefusal: !isBusy && !isLocked,
      retryAfterMs: retryAfterMs(headers['retry-after'])
    }
  }

  private close(reason: string, mayBeRefusal: boolean, retryAfterMs: number): void {
    if (this.isClosed) return
    this.drop()
    this.events.closed(reason, mayBeRefusal, retryAfterMs)
  }
}

/** Retry-After in seconds (RFC 9110, 10.2.3); a date, or nonsense, asks for nothing. */
function retryAfterMs(header: string | string[] | undefined): number {
  return typeof header === 'string' && /^\d{1,9}$/.test(header) ? Math.min(RETRY_AFTER_MS_MAX, Number(header) * 1000) : 0
}

function describe(error: unknown, url: string): string {
  const code = error instanceof Error && 'code' in error ? error.code : undefined
  if (code === 'ECONNREFUSED') return `nothing listens at ${withoutSecrets(url)}: start the gateway, or correct gateway.http`
  return error instanceof Error && error.message !== '' ? error.message : String(code ?? error)
}
