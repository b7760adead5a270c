/** The bearer token of the HTTP API: where it comes from, and whether a request has it. It is compared in constant time and never logged. */
import { createHash, timingSafeEqual } from 'node:crypto'
import { readFileSync } from 'node:fs'

/** The environment variable that holds the token, over any file. */
export const TOKEN_VARIABLE = 'TIDEMARK_HTTP_TOKEN'

/** Shortest token, in characters: what is shorter can be guessed. */
const TOKEN_LENGTH_MIN = 16

/** A token with its line in a header: no spaces, no control characters. */
const TOKEN_PATTERN = /^[\x21-\x7e]+$/

/** The token cannot be used; the message says what to change, and nothing of the token. */
export class HttpTokenError extends Error {
  readonly code = 'HTTP_TOKEN'
}

/** The token of the environment, else of the file; null: there is none. Throws an `HttpTokenError`. */
export function readHttpToken(file: string | null, environment: string | undefined): string | null {
  if (environment !== undefined && environment !== '') return checked(environment, TOKEN_VARIABLE)
  if (file === null) return null
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (cause) {
    const why = cause instanceof Error ? cause.message.split('\n')[0] : String(cause)
    throw new HttpTokenError(`http.token_file: cannot read ${file} (${why}): make it with: openssl rand -hex 32 > ${file}`, { cause })
  }
  return checked(text.trim(), file)
}

/** Whether the header is `Bearer` and the token. */
export function isAuthorized(header: string | undefined, token: string): boolean {
  const given = /^Bearer +(\S+) *$/i.exec(header ?? '')?.[1] ?? ''
  return timingSafeEqual(digestOf(given), digestOf(token))
}

function checked(token: string, where: string): string {
  if (token.length >= TOKEN_LENGTH_MIN && TOKEN_PATTERN.test(token)) return token
  throw new HttpTokenError(
    `the token in ${where} is no good: it needs ${TOKEN_LENGTH_MIN} characters or more, of ASCII without spaces (openssl rand -hex 32)`
  )
}

/** Of one length for any text: so the comparison tells not even that. */
function digestOf(text: string): Buffer {
  return createHash('sha256').update(text).digest()
}
