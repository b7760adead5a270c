/** Shows the readings of a running agent as they are stored: a table for people, JSON lines for scripts. */
import type { Value } from '@tidemark/protocol'
import { BufferOpenError } from './buffer-error.js'
import { type LiveReading, liveLines, liveSocketPath } from './live-socket.js'

/** Lines between two heads of the table: there is always one on the screen. */
const ROWS_A_HEAD = 20
const TIME_WIDTH = 24
const WIDTH_MIN = 8
const WIDTH_MAX = 16

/** Ends when the agent does or `signal` aborts. Throws a `BufferOpenError` where no agent runs. */
export async function tailReadings(bufferPath: string, json: boolean, print: (line: string) => void, signal: AbortSignal): Promise<void> {
  const table = new Table()
  try {
    for await (const line of liveLines(liveSocketPath(bufferPath), signal)) {
      if (line.type !== 'reading') continue
      if (json) print(JSON.stringify({ event_time: line.event_time, metrics: line.metrics }))
      else for (const row of table.rows(line)) print(row)
    }
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : ''
    if (code === 'ENOENT' || code === 'ECONNREFUSED') throw new BufferOpenError(`no agent runs on the buffer ${bufferPath}: start it first`)
    if (code === 'EACCES') throw new BufferOpenError(`the agent on ${bufferPath} belongs to another user: use sudo`)
    throw error
  }
}

/** Columns by metric. */
class Table {
  private head = ''
  private rowsSinceHead = 0

  rows({ event_time: eventTime, metrics }: LiveReading): string[] {
    const names = Object.keys(metrics)
    const widths = names.map(name => Math.min(WIDTH_MAX, Math.max(WIDTH_MIN, name.length)))
    const head = [' '.repeat(TIME_WIDTH), ...names.map((name, i) => cell(name, widths[i]))].join('  ')
    const row = [(eventTime ?? 'clock not set').padEnd(TIME_WIDTH), ...names.map((name, i) => cell(textOf(metrics[name]), widths[i]))].join(
      '  '
    )
    const isDue = head !== this.head || this.rowsSinceHead >= ROWS_A_HEAD
    this.head = head
    this.rowsSinceHead = isDue ? 1 : this.rowsSinceHead + 1
    return isDue ? [head, row] : [row]
  }
}

function cell(text: string, width: number): string {
  return text.length > width ? `${text.slice(0, width - 1)}…` : text.padStart(width)
}

function textOf(value: Value): string {
  return value === null ? '-' : String(value)
}
