/** Shows progress on stderr: of a fleet as a bar on a terminal and as a line every few seconds elsewhere, of a verification as a bar. */
import { SingleBar } from 'cli-progress'
import type { FleetProgress } from './fleet-options.js'
import type { HistoryProgress } from './history-options.js'
import { PROGRESS_LINE_MS } from './limits.js'

export interface ProgressView {
  show(progress: FleetProgress): void
  /** Leaves the terminal as it was found. */
  end(): void
}

const LOOKS = { barsize: 16, barCompleteChar: '█', barIncompleteChar: '░', hideCursor: true, linewrap: false, gracefulExit: false }

export function viewFor(stream: NodeJS.WriteStream): ProgressView {
  return stream.isTTY ? new Bar(stream) : new Lines(stream)
}

/** A bar of a history's readings; nothing where there is no terminal. Call `end` when it is over. */
export function historyView(stream: NodeJS.WriteStream): { show(progress: HistoryProgress): void; end(): void } {
  if (!stream.isTTY) return { show: () => {}, end: () => {} }
  const bar = new SingleBar({ ...LOOKS, stream, format: '{bar} {percentage}% {line}' })
  bar.start(1000, 0, { line: 'connecting' })
  return {
    show: ({ share, readings, connected, readingsPerS }) =>
      bar.update(Math.round(share * 1000), { line: `${connected} connected, ${readings} readings acked, ${readingsPerS}/s` }),
    end: () => bar.stop()
  }
}

/** A bar of a verification; nothing where there is no terminal. Call `end` when it is over. */
export function shareBar(stream: NodeJS.WriteStream): { show(share: number): void; end(): void } {
  if (!stream.isTTY) return { show: () => {}, end: () => {} }
  const bar = new SingleBar({ ...LOOKS, stream, format: '{bar} {percentage}% compared', clearOnComplete: true })
  bar.start(1000, 0)
  return { show: share => bar.update(Math.round(share * 1000)), end: () => bar.stop() }
}

/** The state of a fleet in one line. */
export function lineOf({ phase, connections, connected, readingsPerS, acked, inFlight, disconnects, pubackMs }: FleetProgress): string {
  const lost = disconnects === 0 ? '' : `, ${disconnects} connections lost`
  const counts = `${connected}/${connections} connected, ${readingsPerS} readings/s, ${acked} acked, ${inFlight} in flight${lost}`
  return `${phase}: ${counts}, PUBACK p50 ${pubackMs.p50} ms p99 ${pubackMs.p99} ms`
}

class Bar implements ProgressView {
  private readonly bar: SingleBar

  constructor(stream: NodeJS.WriteStream) {
    this.bar = new SingleBar({ ...LOOKS, stream, format: '{bar} {percentage}% {line}' })
    this.bar.start(1000, 0, { line: 'connecting' })
  }

  show(progress: FleetProgress): void {
    this.bar.update(Math.round(progress.share * 1000), { line: lineOf(progress) })
  }

  end(): void {
    this.bar.stop()
  }
}

class Lines implements ProgressView {
  private shownMs = Number.NEGATIVE_INFINITY
  private phase = ''

  constructor(private readonly stream: NodeJS.WriteStream) {}

  show(progress: FleetProgress): void {
    const nowMs = performance.now()
    if (progress.phase === this.phase && nowMs - this.shownMs < PROGRESS_LINE_MS) return
    this.shownMs = nowMs
    this.phase = progress.phase
    this.stream.write(`${lineOf(progress)}\n`)
  }

  end(): void {}
}
