/**
 * Tells what only a running agent knows, on a Unix socket beside the buffer: each connection gets JSON lines, first a report of
 * sources and clock, then the readings as they are stored. It takes no commands, and only the agent's own user may connect.
 * A reader that is too slow is let go: nothing here holds up sampling.
 */
import { chmodSync, closeSync, constants, openSync, rmSync } from 'node:fs'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { basename, dirname } from 'node:path'
import type { Profile, Value } from '@tidemark/protocol'
import type { ClockReport } from './agent-clock.js'
import { LIVE_BYTES_MAX, LIVE_CONNECTIONS_MAX } from './limits.js'
import type { Sampled } from './sqlite-buffer.js'

/** How a source is doing; times are ISO 8601. */
export interface SourceReport {
  readonly source: string
  readonly metrics: readonly string[]
  readonly state: string
  readonly since: string
  readonly failures: number
  readonly failures_total: number
  readonly last_error: string | null
}

export interface LiveReport {
  readonly type: 'report'
  /** What is wrong with the disk, which the buffer's file may not be able to say; null where nothing is. */
  readonly problem: string | null
  readonly sources: readonly SourceReport[]
  readonly clock: ClockReport
}

export interface LiveReading {
  readonly type: 'reading'
  /** ISO 8601; null while it is not known, because the clock is not set. */
  readonly event_time: string | null
  readonly metrics: Readonly<Record<string, Value>>
}

export type LiveLine = LiveReport | LiveReading

export class LiveSocket {
  private readonly server: Server
  private readonly readers = new Set<Socket>()

  constructor(
    private readonly path: string,
    report: () => LiveReport
  ) {
    this.server = createServer(socket => {
      this.readers.add(socket)
      socket.on('error', () => {})
      socket.on('close', () => this.readers.delete(socket))
      socket.resume()
      send(socket, report())
    })
    this.server.maxConnections = LIVE_CONNECTIONS_MAX
  }

  /** Rejects where the file system takes no socket. The caller holds the buffer's lock: what is there is left from a dead agent. */
  async listen(): Promise<void> {
    rmSync(this.path, { force: true })
    const { path, release } = shortPath(this.path)
    try {
      await new Promise<void>((resolve, reject) => {
        this.server.once('error', reject)
        this.server.listen(path, () => {
          this.server.off('error', reject)
          resolve()
        })
      })
      chmodSync(this.path, 0o600)
    } finally {
      release()
    }
    this.server.unref()
  }

  /** Passes on what was stored. `isHeld`: event times are not known yet. */
  tell(profile: Profile, sampled: Sampled, isHeld: boolean): void {
    if (this.readers.size === 0) return
    for (const entry of sampled.entries) {
      if ('shed' in entry) continue
      const metrics = Object.fromEntries(profile.metrics.map(({ name }, m) => [name, entry.values[m]]))
      const line: LiveReading = { type: 'reading', event_time: isHeld ? null : new Date(entry.eventTimeMs).toISOString(), metrics }
      for (const reader of this.readers) send(reader, line)
    }
  }

  close(): void {
    this.server.close()
    for (const reader of this.readers) reader.end()
    rmSync(this.path, { force: true })
  }
}

function send(reader: Socket, line: LiveLine): void {
  if (reader.writableLength > LIVE_BYTES_MAX) reader.destroy()
  else reader.write(`${JSON.stringify(line)}\n`)
}

/** Where the socket of a buffer is. */
export function liveSocketPath(bufferPath: string): string {
  return `${bufferPath}.sock`
}

/**
 * The lines of a running agent; ends when the agent does, or when the caller stops iterating.
 * Throws where no agent listens there.
 */
export async function* liveLines(path: string, signal?: AbortSignal): AsyncGenerator<LiveLine> {
  const socket = await open(path)
  const end = () => socket.destroy()
  signal?.addEventListener('abort', end, { once: true })
  let rest = ''
  socket.setEncoding('utf8')
  try {
    for await (const chunk of socket) {
      const lines = `${rest}${chunk}`.split('\n')
      rest = lines.pop()!
      for (const line of lines) yield JSON.parse(line) as LiveLine
    }
  } catch (error) {
    if (signal?.aborted !== true) throw error
  } finally {
    end()
  }
}

async function open(file: string): Promise<Socket> {
  const { path, release } = shortPath(file)
  try {
    return await new Promise<Socket>((resolve, reject) => {
      const socket = connect(path)
      socket.once('connect', () => resolve(socket)).once('error', reject)
    })
  } finally {
    release()
  }
}

/** A socket's path may have 103 bytes on some systems (unix(7)); a longer one goes through its folder's descriptor on Linux. */
function shortPath(path: string): { path: string; release: () => void } {
  if (Buffer.byteLength(path) <= 103 || process.platform !== 'linux') return { path, release: () => {} }
  const folder = openSync(dirname(path), constants.O_RDONLY | constants.O_DIRECTORY)
  return { path: `/proc/self/fd/${folder}/${basename(path)}`, release: () => closeSync(folder) }
}
