/** Shows how the demo goes, on stderr: one bar on a terminal, a line every few seconds elsewhere. */
import type { FleetProgress } from '@tidemark/simulator'
import { SingleBar } from 'cli-progress'
import type { GatewayMetrics } from '../gateway-metrics.js'

const LINE_MS = 5000

export class DemoProgress {
  private readonly bar: SingleBar | null
  private shownMs = Number.NEGATIVE_INFINITY

  constructor(private readonly stream: NodeJS.WriteStream) {
    this.bar = stream.isTTY
      ? new SingleBar({
          stream,
          format: '{bar} {percentage}% {line}',
          barsize: 16,
          barCompleteChar: '█',
          barIncompleteChar: '░',
          hideCursor: true,
          linewrap: false
        })
      : null
    this.bar?.start(1000, 0, { line: 'starting' })
  }

  show(fleet: FleetProgress, agents: number, gateway: GatewayMetrics): void {
    const line = lineOf(fleet, agents, gateway)
    if (this.bar !== null) this.bar.update(Math.round(fleet.share * 1000), { line })
    else if (performance.now() - this.shownMs >= LINE_MS) {
      this.shownMs = performance.now()
      this.stream.write(
        `${Math.round(fleet.share * 100)
          .toString()
          .padStart(3)}% ${line}\n`
      )
    }
  }

  /** Leaves the terminal as it was found. */
  end(): void {
    this.bar?.stop()
  }
}

function lineOf(fleet: FleetProgress, agents: number, gateway: GatewayMetrics): string {
  const of = (name: string) => gateway.get(`tidemark_readings_${name}_total`) ?? 0
  const connected = fleet.connected + agents
  const taken = `${of('archived')} archived, ${of('duplicate')} duplicates, ${of('quarantined')} quarantined`
  return `${connected} connected, ${fleet.readingsPerS} readings/s, PUBACK p99 ${fleet.pubackMs.p99} ms; ${taken}`
}
