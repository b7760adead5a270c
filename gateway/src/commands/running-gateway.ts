/** How a command reaches the gateway that runs over a data folder; or learns that none does. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { z } from 'zod'
import { ConfigError } from '../config.js'
import { isDataDirLocked } from '../data-lock.js'
import { readGatewayFile } from '../gateway-file.js'
import { readHttpToken, TOKEN_VARIABLE } from '../http/http-token.js'

/** How long a gateway that has the lock may take until it says where it listens, ms. */
const STARTING_MS_MAX = 30_000

/** Where a running gateway is reached, and what it wants to be shown. */
export interface GatewayAddress {
  /** The base URL of its HTTP. */
  readonly url: string
  /** null: none is known. */
  readonly token: string | null
}

/** null: no gateway runs. Throws a `ConfigError` where `dataDir` is no data folder. */
export async function findGateway(dataDir: string): Promise<GatewayAddress | null> {
  expectDataDir(dataDir)
  const deadlineMs = performance.now() + STARTING_MS_MAX
  while (isDataDirLocked(dataDir)) {
    const file = readGatewayFile(dataDir)
    if (file !== null) return { url: `http://${file.http}`, token: tokenOf(file.token_file ?? null) }
    if (performance.now() > deadlineMs)
      throw new ConfigError(`a gateway holds the data folder ${dataDir} and does not say where it listens: is it still starting? Try again`)
    await pause(100)
  }
  return null
}

function tokenOf(file: string | null): string | null {
  try {
    return readHttpToken(file, process.env[TOKEN_VARIABLE])
  } catch (cause) {
    const how = `set ${TOKEN_VARIABLE}, or run this as a user who may read the gateway's token`
    throw new ConfigError(`${cause instanceof Error ? cause.message : cause}; ${how}`, { cause })
  }
}

const refusal = z.object({ message: z.string() })

/** Asks the gateway: gets `path`, or posts a body there, JSON or bytes. Throws a `ConfigError` with its own words where it refuses. */
export async function askGateway<T>(
  { url, token }: GatewayAddress,
  path: string,
  schema: z.ZodType<T>,
  body?: object | Uint8Array<ArrayBuffer>
): Promise<T> {
  const type = body instanceof Uint8Array ? 'application/octet-stream' : 'application/json'
  const post = { method: 'POST', body: body instanceof Uint8Array ? body : JSON.stringify(body) }
  const headers = {
    ...(body === undefined ? {} : { 'content-type': type }),
    ...(token === null ? {} : { authorization: `Bearer ${token}` })
  }
  const response = await fetch(`${url}${path}`, { headers, ...(body === undefined ? {} : post) }).catch(cause => {
    throw new Error(`the gateway does not answer at ${url}: ${cause instanceof Error ? cause.message : cause}`, { cause })
  })
  const answer: unknown = await response.json()
  if (response.ok) return schema.parse(answer)
  const { data } = refusal.safeParse(answer)
  const message = data?.message ?? `the gateway answers ${response.status} at ${url}${path}`
  if (response.status === 401) throw new ConfigError(`${message}; commands take it from ${TOKEN_VARIABLE}`)
  throw response.status < 500 ? new ConfigError(message) : new Error(message)
}

function expectDataDir(dataDir: string): void {
  if (existsSync(join(dataDir, 'log.sqlite'))) return
  const what = existsSync(dataDir) ? `${dataDir} is no data folder of a gateway (it holds no log.sqlite)` : `there is no folder ${dataDir}`
  throw new ConfigError(`${what}: give the gateway's data folder with --data-dir`)
}
