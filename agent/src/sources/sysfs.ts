/** Reads sysfs (https://docs.kernel.org/filesystems/sysfs.html): one value a file, one folder a device. */
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'

/** A file's text without its line end. Rejects with what to look at where it cannot be read. */
export async function readAttribute(path: string): Promise<string> {
  try {
    return (await readFile(path, 'utf8')).trim()
  } catch (error) {
    throw new Error(describe(path, error), { cause: error })
  }
}

/** A file's number. Rejects also where it holds none. */
export async function readNumber(path: string): Promise<number> {
  const text = await readAttribute(path)
  const number = text === '' ? Number.NaN : Number(text)
  if (!Number.isFinite(number)) throw new Error(`${path} holds no number`)
  return number
}

/** As `readNumber`; null where there is no such file. */
export async function readNumberIfThere(path: string): Promise<number | null> {
  try {
    return await readNumber(path)
  } catch (error) {
    const { cause } = error as Error
    if (cause instanceof Error && 'code' in cause && cause.code === 'ENOENT') return null
    throw error
  }
}

/**
 * The folder of a device in a class: by the folder's own name, or by the text of its file `nameFile`. Numbers of devices change
 * from boot to boot, names do not. Rejects where there is none, or more than one of that name.
 */
export async function findDevice(folder: string, wanted: string, nameFile: string): Promise<string> {
  const entries = await readdir(folder).catch((): string[] => [])
  if (entries.includes(wanted)) return join(folder, wanted)
  const found: string[] = []
  const names: string[] = []
  for (const entry of entries.sort()) {
    const name = await readAttribute(join(folder, entry, nameFile)).catch(() => null)
    if (name === wanted) found.push(entry)
    else if (name !== null) names.push(name)
  }
  if (found.length > 1) throw new Error(`there are several ${wanted} in ${folder}: name one of ${found.join(', ')}`)
  if (found.length === 0)
    throw new Error(`there is no ${wanted} in ${folder}${names.length === 0 ? '' : `; there are: ${names.join(', ')}`}`)
  return join(folder, found[0])
}

function describe(path: string, error: unknown): string {
  const code = error instanceof Error && 'code' in error ? String(error.code) : String(error)
  if (code === 'ENOENT') return `there is no ${path}`
  if (code === 'EACCES') return `${path} may not be read: let the agent's user into its group`
  return `${path} cannot be read (${code})` // EIO, EAGAIN and the like: the device does not answer
}
