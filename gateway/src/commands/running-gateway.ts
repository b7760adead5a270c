/** How a command reaches the gateway that runs over a data folder; or learns that none does. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { z } from 'zod'
import { ConfigError } from '../config.js'
import { isDataDirLocked } from '../data-lock.js'
import { readGatewayFile } from '../gateway-file.js'

/** How long a gateway that has the lock may take until it says where it listens, ms. */
const STARTING_MS_MAX = 30_000

/** The base URL of its HTTP; null: no gateway runs. Throws a `ConfigError` where `dataDir` is no data folder. */
export async function findGateway(dataDir: string): Promise<string | null> {
  expectDataDir(dataDir)
  const deadlineMs = performance.now() + STARTING_MS_MAX
  while (isDataDirLocked(dataDir)) {
    const file = readGatewayFile(dataDir)
    if (file !== null) return `http://${file.http}`
    if (performance.now() > deadlineMs)
      throw new ConfigError(`a gateway holds the data folder ${dataDir} and does not say where it listens: is it still starting? Try again`)
    await pause(100)
  }
  return null
}

const refusal = z.object({ error: z.string() })

/** Asks the gateway. Throws a `ConfigError` with its own words where it refuses. */
export async function askGateway<T>(url: string, schema: z.ZodType<T>, body?: object): Promise<T> {
  const post = { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }
  const response = await fetch(url, body === undefined ? {} : post).catch(cause => {
    throw new Error(`the gateway does not answer at ${url}: ${cause instanceof Error ? cause.message : cause}`, { cause })
  })
  const answer: unknown = await response.json()
  if (response.ok) return schema.parse(answer)
  const { data } = refusal.safeParse(answer)
  const message = data?.error ?? `the gateway answers ${response.status} at ${url}`
  throw response.status < 500 ? new ConfigError(message) : new Error(message)
}

function expectDataDir(dataDir: string): void {
  if (existsSync(join(dataDir, 'log.sqlite'))) return
  const what = existsSync(dataDir) ? `${dataDir} is no data folder of a gateway (it holds no log.sqlite)` : `there is no folder ${dataDir}`
  throw new ConfigError(`${what}: give the gateway's data folder with --data-dir`)
}
