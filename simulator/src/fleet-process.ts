/**
 * A process of a fleet: plays the share that it is told to, and ends with the one that started it. Ctrl-C reaches it too, from the
 * terminal; it leaves that to the one that started it.
 */
import { Fleet } from './fleet.js'
import type { FleetCommand, FleetMessage } from './fleet-messages.js'

let fleet: Fleet | null = null

function say(message: FleetMessage, then: () => void = () => {}): void {
  process.send?.(message, undefined, undefined, then)
}

function fail(error: Error): void {
  const code = 'code' in error && typeof error.code === 'string' ? error.code : null
  say({ say: 'failure', code, message: error.message }, () => process.disconnect())
}

function play({ options, share, addresses }: Extract<FleetCommand, { say: 'play' }>): Fleet {
  const playing = new Fleet(options, share, addresses, {
    onReady: () => say({ say: 'ready' }),
    onTelling: (telling, live, backlog) => say({ say: 'telling', telling, live: live.encode(), backlog: backlog.encode() }),
    onReport: report => say({ say: 'report', report }, () => process.disconnect()),
    onFailure: fail
  })
  playing.start()
  return playing
}

process.on('SIGINT', () => {})
process.on('SIGTERM', () => {})
process.on('disconnect', () => process.exit())
process.on('message', (command: FleetCommand) => {
  if (command.say === 'begin') fleet?.begin(command.startMs)
  else if (command.say === 'stop') fleet?.stop()
  else {
    try {
      fleet = play(command)
    } catch (error) {
      fail(error instanceof Error ? error : new Error(String(error)))
    }
  }
})
