/** How the command line says what goes wrong in a run: the same for the run and for its verification. */
import { type Command, Option } from 'commander'
import type { FleetOptions } from './fleet-options.js'
import { durationOf, numberOf } from './options.js'

export interface FaultOptions {
  readonly devices: number
  readonly duplicates: number
  readonly late: number
  readonly poison: number
  readonly disconnects: number
  readonly delays: number
  readonly silence: number
  readonly skew: number
  readonly backlog?: number
  readonly backlogDevices?: number
  readonly backlogAt: number
}

export function addFaultOptions(command: Command): void {
  command
    .option('--duplicates <rate>', 'share of readings that are sent twice', numberOf, 0)
    .option('--late <rate>', 'share of readings that are held back or have their clock stepped back', numberOf, 0)
    .option('--poison <rate>', 'share of readings that are out of range, in the future, or come with junk', numberOf, 0)
    .option('--disconnects <rate>', 'share of readings behind which the connection is cut', numberOf, 0)
    .option('--delays <rate>', 'share of readings that wait one to four intervals, and all behind them', numberOf, 0)
    .option('--silence <rate>', 'share of 64 readings in which a device is silent for 8 to 31 intervals', numberOf, 0)
    .option('--skew <rate>', 'share of devices whose clock is wrong by up to two minutes', numberOf, 0)
    .option('--backlog <duration>', 'some devices come late, with all that they measured for so long before', durationOf)
    .option('--backlog-devices <n>', 'how many of the devices (default: a fifth)', numberOf)
    .addOption(new Option('--backlog-at <duration>', 'when they come, after the start').argParser(durationOf).default(10_000, '10s'))
}

/** The part of a fleet's options that they make. */
export function faultsOf(options: FaultOptions): Pick<FleetOptions, 'rates' | 'troubles' | 'backlog'> {
  const { devices, duplicates, late, poison, disconnects, delays, silence, skew } = options
  const backlog = { devices: options.backlogDevices ?? Math.floor(devices / 5), ms: options.backlog ?? 0, atMs: options.backlogAt }
  return {
    rates: { duplicates, late, poison },
    troubles: { disconnects, delays, silence, skew },
    ...(options.backlog === undefined ? {} : { backlog })
  }
}
