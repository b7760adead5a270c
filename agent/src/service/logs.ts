/** `tidemark-agent logs`: what the service wrote to the journal, the agent's JSON lines made readable. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { ConfigError } from '../config-error.js'
import { SERVICE } from './unit.js'

export interface LogsOptions {
  readonly follow?: true
  /** How many lines. */
  readonly lines: string
  readonly since?: string
  readonly json?: true
}

/** What is used of an entry of `journalctl --output=json` (systemd's JOURNAL_EXPORT_FORMATS). */
interface Entry {
  readonly MESSAGE?: unknown
  readonly PRIORITY?: string
  readonly SYSLOG_IDENTIFIER?: string
  /** Unix time, in microseconds. */
  readonly __REALTIME_TIMESTAMP?: string
}

/** A line of the log, in the shape that pino gives it; `time` in Unix ms. */
type Line = Readonly<Record<string, unknown>> & { readonly time: number; readonly level: number; readonly msg: string }

/** Of pino (https://getpino.io/#/docs/api?id=loggerlevel-string-gettersetter). */
const LEVELS: Readonly<Record<number, string>> = { 10: 'trace', 20: 'debug', 30: 'info', 40: 'warn', 50: 'error', 60: 'fatal' }

/** The priorities of syslog(3), from emerg to debug, in the numbers of pino. */
const PRIORITIES = [60, 60, 60, 50, 40, 30, 30, 20]

/** Shows the journal of the service until it ends, or, following it, until `signal` aborts. Throws a `ConfigError` where there is none. */
export async function showLogs(
  { follow, lines, since, json }: LogsOptions,
  print: (line: string) => void,
  signal: AbortSignal
): Promise<void> {
  if (!/^(\d+|all)$/.test(lines)) throw new ConfigError('--lines: write a number, or all')
  const asked = [...(follow ? ['--follow'] : []), `--lines=${lines}`, ...(since === undefined ? [] : [`--since=${since}`])]
  const child = spawn('journalctl', [`--unit=${SERVICE}`, '--output=json', '--all', '--no-pager', ...asked], {
    stdio: ['ignore', 'pipe', 'pipe'],
    signal,
    killSignal: 'SIGTERM'
  })
  let [said, shown] = ['', 0]
  child.stderr.on('data', chunk => {
    said += chunk
  })
  const ended = once(child, 'close').then(([code]) => Number(code))
  ended.catch(() => undefined) // awaited below, when all lines are read
  for await (const text of createInterface({ input: child.stdout })) {
    const line = lineOf(text)
    if (line === null) continue
    shown++
    print(json === true ? JSON.stringify(line) : formatLine(line))
  }
  const code = await ended.catch((error: Error) => {
    if (signal.aborted) return 0
    if ('code' in error && error.code === 'ENOENT')
      throw new ConfigError(
        'there is no journal here, since there is no journalctl: the agent writes its lines to stdout of whatever started it'
      )
    throw error
  })
  if (signal.aborted) return
  if (code !== 0) throw new ConfigError(`journalctl: ${said.trim().split('\n').at(-1)}`)
  if (shown === 0) throw new ConfigError(`the journal has no lines of ${SERVICE}${hint(said, since)}`)
}

function hint(said: string, since: string | undefined): string {
  if (/no journal files were (found|opened)/i.test(said))
    return ': there is no journal here, or you may not read it (sudo, or the group systemd-journal)'
  return since === undefined ? ': was it ever started? (tidemark-agent install)' : ` since ${since}`
}

/**
 * The line that an entry of the journal holds: the agent's own as it wrote it; what systemd or Node said, in the same shape. Null for
 * what is no entry.
 */
export function lineOf(text: string): Line | null {
  const entry = objectIn(text) as Entry | null
  if (entry === null) return null
  const msg = textOf(entry.MESSAGE)
  const own = objectIn(msg)
  if (own !== null && isLine(own)) return own
  const by = entry.SYSLOG_IDENTIFIER === 'systemd' ? { by: 'systemd' } : {}
  const time = Math.floor(Number(entry.__REALTIME_TIMESTAMP ?? 0) / 1000)
  return { level: PRIORITIES[Number(entry.PRIORITY ?? 6)] ?? 30, time, ...by, msg }
}

function isLine(value: Readonly<Record<string, unknown>>): value is Line {
  return typeof value.level === 'number' && typeof value.time === 'number' && typeof value.msg === 'string'
}

/** `2026-11-24T13:00:00.000Z  warn   cannot store readings: trying again  error=disk full` */
export function formatLine({ time, level, msg, device: _, ...fields }: Line): string {
  const named = Object.entries(fields).map(([key, value]) => `${key}=${valueText(value)}`)
  const line = [new Date(time).toISOString(), (LEVELS[level] ?? String(level)).padEnd(5), msg, ...named].join('  ')
  // biome-ignore lint/suspicious/noControlCharactersInRegex: one that a source put in would move the reader's cursor
  return line.replace(/[\u0000-\u0008\u000b-\u001f\u007f]/g, '?')
}

function valueText(value: unknown): string {
  return typeof value === 'string' && /^[^\s"=]+$/.test(value) ? value : JSON.stringify(value)
}

/** Text, or its bytes where it is no UTF-8. */
function textOf(message: unknown): string {
  if (Array.isArray(message)) return Buffer.from(message as number[]).toString()
  return typeof message === 'string' ? message : ''
}

function objectIn(text: string): Record<string, unknown> | null {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : null
  } catch {
    return null
  }
}
