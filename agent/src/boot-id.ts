import { randomUUID } from 'node:crypto'
import { readFile } from 'node:fs/promises'

/** Names this boot of the machine (random(4)). Where the system does not, each life of the agent counts as a boot of its own. */
export async function readBootId(): Promise<string> {
  try {
    return (await readFile('/proc/sys/kernel/random/boot_id', 'utf8')).trim()
  } catch {
    return randomUUID()
  }
}
