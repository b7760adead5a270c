/** Shows how a scenario goes, on stderr: a bar with live figures on a terminal, a line every few seconds elsewhere. */
import type { FleetProgress } from '@tidemark/simulator'
import { SingleBar } from 'cli-progress'
import type { Point } from './meter.js'
import type { PlayEvents } from './play.js'

const LINE_MS = 10_000

export interface LoadConsole extends PlayEvents {
  /** Leaves the terminal as it was found. */
  end(): void
}

export function consoleFor(stream: NodeJS.WriteStream): LoadConsole {
  return stream.isTTY ? new Bar(stream) : new Lines(stream)
}

function figures(point: Point, progress: FleetProgress | null): string {
  const memory = Math.round(point.rssMb.gateway + point.rssMb.front)
  const cores = (point.cores.gateway + point.cores.front).toFixed(2)
  const gateway = `gateway ${memory} MB, ${cores} cores`
  if (progress === null) return gateway
  const { connected, connections, readingsPerS, inFlight, recentMs } = progress
  return `${connected}/${connections} connected, ${readingsPerS}/s, ${inFlight} in flight, p50 ${recentMs.p50} p99 ${recentMs.p99} ms; ${gateway}`
}

class Bar implements LoadConsole {
  private readonly bar: SingleBar
  private stage = ''

  constructor(stream: NodeJS.WriteStream) {
    this.bar = new SingleBar({
      ...{ stream, hideCursor: true, linewrap: false, gracefulExit: false },
      ...{ barsize: 16, barCompleteChar: '█', barIncompleteChar: '░', format: '{bar} {percentage}% {line}' }
    })
    this.bar.start(1000, 0, { line: '' })
  }

  onStage(stage: string): void {
    this.stage = stage
    this.bar.update({ line: stage })
  }

  onPoint(point: Point, progress: FleetProgress | null): void {
    this.bar.update(Math.round((progress?.share ?? 0) * 1000), { line: `${this.stage}: ${figures(point, progress)}` })
  }

  onVerified(share: number): void {
    this.bar.update(Math.round(share * 1000), { line: this.stage })
  }

  end(): void {
    this.bar.stop()
  }
}

class Lines implements LoadConsole {
  private shownMs = Number.NEGATIVE_INFINITY

  constructor(private readonly stream: NodeJS.WriteStream) {}

  onStage(stage: string): void {
    this.stream.write(`${stage}\n`)
  }

  onPoint(point: Point, progress: FleetProgress | null): void {
    if (performance.now() - this.shownMs < LINE_MS || progress === null) return
    this.shownMs = performance.now()
    this.stream.write(
      `${Math.round(progress.share * 100)
        .toString()
        .padStart(3)}% ${figures(point, progress)}\n`
    )
  }

  onVerified(): void {}

  end(): void {}
}
