/** `tidemark-agent uninstall`: stops the service and removes its unit; with `purge` also its buffer and its user. */
import { readFile, rm, rmdir } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import { isLocked } from '../buffer-lock.js'
import { ConfigError } from '../config-error.js'
import { readStatus } from '../status.js'
import { bufferFiles } from './access.js'
import { Host } from './host.js'
import { markerOf, SERVICE, stateDirectory } from './unit.js'

export interface UninstallOptions {
  readonly purge?: true
  readonly root: string
}

/** @returns what was done and what was kept, as lines */
export async function uninstall({ purge, root }: UninstallOptions): Promise<string[]> {
  const host = new Host(resolve(root))
  host.check('uninstall')
  const unit = await readFile(host.unitPath, 'utf8').catch(() => null)
  if (unit === null) throw new ConfigError(`there is no ${host.unitPath}: nothing is installed`)
  const marker = markerOf(unit)
  if (marker === null) throw new ConfigError(`${host.unitPath} was not written by tidemark-agent install: remove it by hand`)
  await host.systemctl('disable', ...(host.isThisMachine ? ['--now'] : []), SERVICE)
  const { bufferPath, user, config } = marker
  if (purge === true && isLocked(host.at(bufferPath))) throw new ConfigError(`another agent is running on ${bufferPath}: stop it first`)
  await rm(host.unitPath)
  if (host.isThisMachine) {
    await host.systemctl('daemon-reload')
    await host.systemctl('reset-failed', SERVICE).catch(() => undefined) // it had not failed
  }
  const held = unacked(host.at(bufferPath))
  const lines = [`stopped and removed ${SERVICE}`]
  if (purge === true) {
    lines.push(...(await removeBuffer(host, bufferPath, held)))
    if ((await host.account(user))?.isOurs) {
      await host.removeUser(user)
      lines.push(`removed   user ${user}`)
    }
  } else {
    lines.push(`kept      buffer ${bufferPath}${held}`, `kept      user ${user}, to whom it belongs`)
  }
  return [...lines, `kept      configuration ${config}`]
}

/** What is in the buffer and was never acked. */
function unacked(path: string): string {
  try {
    const { buffered } = readStatus(path, Date.now())
    return buffered === 0 ? '' : `, with ${buffered} readings that no gateway has acked`
  } catch {
    return '' // there is none, or none that can be read
  }
}

async function removeBuffer(host: Host, bufferPath: string, held: string): Promise<string[]> {
  const path = host.at(bufferPath)
  const files = await bufferFiles(path)
  for (const file of files) await rm(file)
  if (stateDirectory(bufferPath) !== null) await rmdir(dirname(path)).catch(() => undefined) // others have something in it
  return [`removed   buffer ${bufferPath}${files.length === 0 ? ' (there was none)' : held}`]
}
