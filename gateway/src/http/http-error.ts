/** What every error of the HTTP API answers with: a stable code for programs, a message for people. */
import type { FastifyError } from 'fastify'
import { hasZodFastifySchemaValidationErrors } from 'fastify-type-provider-zod'
import { z } from 'zod'
import { LogWriteError } from '../log/log-client.js'
import { PipelineBehindError } from '../pipeline/pipeline-client.js'
import { FileVanishedError, ServingBusyError } from '../serving/serving-client.js'

/** Stable: programs tell errors apart by these. */
export const ERROR_CODES = [
  'invalid-request',
  'unknown-metric',
  'unknown-profile',
  'profile-needed',
  'unauthorized',
  'forbidden',
  'not-found',
  'unknown-device',
  'requeue-pending',
  'too-large',
  'too-many-requests',
  'busy',
  'behind',
  'log-unwritable',
  'internal'
] as const

export type ErrorCode = (typeof ERROR_CODES)[number]

export const errorSchema = z.object({
  code: z.enum(ERROR_CODES),
  message: z.string().describe('what is wrong, and what to do')
})

/** The responses of a route that may fail in these ways; in whichever way any route may fail is among them. */
export function failures<S extends number>(...statuses: readonly S[]): Record<S | 400 | 401 | 500, typeof errorSchema> {
  const all = Object.fromEntries([400, 401, 500, ...statuses].map(status => [status, errorSchema]))
  return all as Record<S | 400 | 401 | 500, typeof errorSchema>
}

/** A request that cannot be answered as it is; thrown by routes, its message is the answer. */
export class HttpError extends Error {
  constructor(
    readonly statusCode: number,
    readonly code: ErrorCode,
    message: string,
    /** Seconds after which it is worth another try. */
    readonly retryAfterS?: number
  ) {
    super(message)
  }
}

export interface Failure {
  readonly statusCode: number
  readonly code: ErrorCode
  readonly message: string
  readonly retryAfterS?: number | undefined
}

/** Time after which a processor that is behind, or a disk that was full, is worth another try, s. */
const RETRY_AFTER_S = 5

/** The same where queries wait for their turn. */
const BUSY_RETRY_AFTER_S = 1

/** What an error of a route answers with. What cannot be done just now, and could be later, is 503. */
export function failureOf(error: Error | FastifyError | HttpError): Failure {
  const { message } = error
  if (error instanceof HttpError) return error
  if (error instanceof PipelineBehindError) return { statusCode: 503, code: 'behind', message, retryAfterS: RETRY_AFTER_S }
  if (error instanceof LogWriteError) return { statusCode: 503, code: 'log-unwritable', message, retryAfterS: RETRY_AFTER_S }
  if (error instanceof ServingBusyError || error instanceof FileVanishedError)
    return { statusCode: 503, code: 'busy', message, retryAfterS: BUSY_RETRY_AFTER_S }
  if (hasZodFastifySchemaValidationErrors(error)) return { statusCode: 400, code: 'invalid-request', message: faultsOf(error) }
  const statusCode = 'statusCode' in error && typeof error.statusCode === 'number' ? error.statusCode : 500
  if (statusCode === 413) return { statusCode, code: 'too-large', message }
  if (statusCode < 500) return { statusCode, code: 'invalid-request', message }
  return { statusCode, code: 'internal', message: 'the gateway failed to answer: its log says why' }
}

/** Each fault with the name of the field, as the person wrote it. */
function faultsOf(error: FastifyError): string {
  const where = error.validationContext ?? 'request'
  return (error.validation ?? [])
    .map(({ instancePath, message }) => {
      const field = instancePath.slice(1).replaceAll('/', '.')
      return `${where}${field === '' ? '' : ` ${field}`}: ${message}`
    })
    .join('; ')
}
