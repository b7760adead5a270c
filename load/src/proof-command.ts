/** What the command lines of the proofs share: numbers, files, Ctrl-C, exit codes. 0: proved. 1: not so. 2: something to correct first. */
import { accessSync, constants } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { durationMs } from '@tidemark/protocol'
import { CommanderError, InvalidArgumentError } from 'commander'
import { UsageError } from './replay/replay-error.js'
import { UnfinishedReplayError } from './replay/verify.js'

/** Reads a whole number from 0 to `max`. */
export function wholeNumber(max: number): (text: string) => number {
  return text => {
    if (/^\d{1,10}$/.test(text) && Number(text) <= max) return Number(text)
    throw new InvalidArgumentError(`give a whole number from 0 to ${max}`)
  }
}

/** Reads some of the names, with commas. */
export function someOf(known: readonly string[]): (text: string) => string[] {
  return text => {
    const names = text.split(',')
    if (names.every(name => known.includes(name))) return names
    throw new InvalidArgumentError(`give some of ${known.join(', ')}, with commas`)
  }
}

/** Reads a duration, in ms. */
export function duration(text: string): number {
  try {
    return durationMs(text)
  } catch {
    throw new InvalidArgumentError('Write a number and ms, s, m, h or d, like 30m.')
  }
}

/** Says before a proof, not behind it, that its figures could not be written. Throws a `UsageError`. */
export function requireWritableFolder(path: string, option = '--json'): void {
  const folder = dirname(resolve(path))
  try {
    accessSync(folder, constants.W_OK)
  } catch (cause) {
    throw new UsageError(`cannot write in ${folder} (${(cause as NodeJS.ErrnoException).code}): correct ${option}`, { cause })
  }
}

/** Aborted by the first Ctrl-C; a second one ends at once. */
export function stopOnSignals(): AbortSignal {
  const stopping = new AbortController()
  const onSignal = () => {
    if (stopping.signal.aborted) process.exit(130)
    stopping.abort()
  }
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, onSignal)
  return stopping.signal
}

/** Runs a command, and turns what it returns or throws into an exit code and a line for the person. */
export async function endAs(name: string, main: () => Promise<number>): Promise<void> {
  try {
    process.exitCode = await main()
  } catch (error) {
    if (error instanceof CommanderError) {
      process.exitCode = error.exitCode === 0 ? 0 : 2
      return
    }
    process.stderr.write(`${name}: ${error instanceof Error ? error.message : String(error)}\n`)
    if (error instanceof UnfinishedReplayError) process.stderr.write(`data and logs: ${error.folder}\n`)
    process.exitCode = isUsage(error) ? 2 : 1
  }
}

/** What the person who typed the command can put right. */
function isUsage(error: unknown): boolean {
  return error instanceof UsageError || (error instanceof Error && 'code' in error && error.code === 'USAGE')
}
