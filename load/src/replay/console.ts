/** Shows how a replay gets on: a bar on a terminal, plain lines elsewhere. */
import cliProgress from 'cli-progress'
import type { Crash } from './kill-plan.js'
import type { ReplayEvents } from './replay.js'

export interface ReplayConsole extends ReplayEvents {
  /** Leaves the terminal in order. */
  stop(): void
}

export function showReplay(rows: number, output: NodeJS.WriteStream = process.stdout): ReplayConsole {
  const bars = output.isTTY
    ? new cliProgress.MultiBar({ format: '{bar} {value}/{total} rows acked', stream: output, hideCursor: true, clearOnComplete: true })
    : null
  const bar = bars?.create(rows, 0)
  const say = (line: string) => {
    if (bars === null) output.write(`${line}\n`)
    else bars.log(`${line}\n`)
  }
  return {
    agentKilled: ({ crash, isUnacked }, number, { sampled, settled, held }) =>
      say(
        `agent killed (${number}) at ${place(crash)}: ${sampled} sampled, ${settled} settled, ${held} held${isUnacked ? ', published ones among them' : ''}`
      ),
    gatewayKilled: ({ crash, isUnflushed, isBetweenCommitAndRename }, number) => {
      const dangers = [isUnflushed ? 'unflushed readings in the log' : '', isBetweenCommitAndRename ? 'committed files not renamed' : '']
      const said = dangers.filter(danger => danger !== '').join(', ')
      say(`gateway killed (${number}) at ${place(crash)}: ${said === '' ? 'nothing pending' : said}`)
    },
    redelivered: (batches, readings) => say(`delivered again: ${batches} batches, ${readings} readings`),
    progress: settled => bar?.update(Math.min(settled, rows)),
    stop: () => bars?.stop()
  }
}

function place({ point, count }: Crash): string {
  return `${point} ${count}`
}
