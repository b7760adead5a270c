/**
 * `DATA_DIR/gateway.json`: where a running gateway listens, so that commands find it. Written when it is ready, removed at a clean
 * stop and, where a kill left it, at the next start. Whether a gateway runs is not for this file to say but for the lock.
 */
import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'

const schema = z.object({
  /** HOST:PORT. */
  http: z.string(),
  mqtt: z.string(),
  pid: z.int(),
  /** The file with the token that its HTTP wants, where it has one. */
  token_file: z.string().optional()
})

export type GatewayFile = z.output<typeof schema>

export function writeGatewayFile(dataDir: string, file: GatewayFile): void {
  const path = pathOf(dataDir)
  writeFileSync(`${path}.tmp`, `${JSON.stringify(file)}\n`)
  renameSync(`${path}.tmp`, path)
}

export function removeGatewayFile(dataDir: string): void {
  rmSync(pathOf(dataDir), { force: true })
}

/** null where there is none. */
export function readGatewayFile(dataDir: string): GatewayFile | null {
  try {
    return schema.parse(JSON.parse(readFileSync(pathOf(dataDir), 'utf8')))
  } catch {
    return null
  }
}

function pathOf(dataDir: string): string {
  return join(dataDir, 'gateway.json')
}
