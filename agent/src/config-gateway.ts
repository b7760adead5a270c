import { READINGS_PER_BATCH_MAX } from '@tidemark/protocol'
import { z } from 'zod'
import { duration, rate, size, urlOf } from './config-values.js'
import { BATCH_BYTES_MAX, GATEWAY_URLS_MAX, IN_FLIGHT_MAX } from './limits.js'

/** Where and how the agent publishes: the keys `gateway` and `publish` of its configuration. */

const mqttUrl = urlOf(['mqtt:', 'mqtts:'], 'write mqtt://HOST:PORT, or mqtts:// for TLS')
const httpUrl = urlOf(['http:', 'https:'], 'write http://HOST:PORT, or https:// for TLS')

export const gatewaySchema = z
  .strictObject({
    url: mqttUrl.optional(),
    urls: z.array(mqttUrl).min(1).max(GATEWAY_URLS_MAX).optional(),
    http: httpUrl.optional(),
    http_token_file: z.string().min(1).optional(),
    http_after: duration(0).default(30_000)
  })
  .refine(gateway => (gateway.url === undefined) !== (gateway.urls === undefined), 'name a url, or a list of urls, and not both')
  .refine(gateway => gateway.http_token_file === undefined || gateway.http !== undefined, 'http_token_file is for http: name that, too')
  .refine(gateway => gateway.http_token_file === undefined || !hasUser(gateway.http), 'http has a user or http_token_file, and not both')

function hasUser(url: string | undefined): boolean {
  if (url === undefined || !URL.canParse(url)) return false
  const { username, password } = new URL(url)
  return username !== '' || password !== ''
}

const backoff = z
  .strictObject({ min: duration(1).default(500), max: duration(1).default(300_000) })
  .refine(range => range.min <= range.max, 'min must not be above max')

export const publishSchema = z.strictObject({
  in_flight: z.int().min(1).max(IN_FLIGHT_MAX).default(8),
  batch_readings: z.int().min(1).max(READINGS_PER_BATCH_MAX).default(500),
  batch_bytes: size(256, BATCH_BYTES_MAX).default(64 * 1024),
  max_rate: rate.optional(),
  backoff: backoff.prefault({})
})
