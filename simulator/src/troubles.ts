/**
 * What goes wrong with a device and its link, as pure functions of (seed, device, seq) and the rates; unlike a fault it changes no
 * reading's fate, so it may meet any reading.
 *
 *   disconnect   the connection is cut right behind the reading            it is sent again, and archived once
 *   delay        the reading, and all behind it, wait one to four intervals    archived; its watermark waits with it
 *   silence      for 8 to 31 intervals nothing is sent, then all of it, in order
 *   skew         the device's clock is wrong by up to two minutes, always      its event times are
 */
import { DELAY_INTERVALS_MAX, SILENCE_BLOCK_SEQS, SILENCE_INTERVALS_END, SILENCE_INTERVALS_MIN, SKEW_MS_MAX } from './limits.js'
import { mix, STREAM, unit } from './prng.js'

/** Each in [0, 1]: shares of the readings, of blocks of `SILENCE_BLOCK_SEQS` readings, of the devices. */
export interface TroubleRates {
  readonly disconnects: number
  readonly delays: number
  readonly silence: number
  readonly skew: number
}

export const NO_TROUBLES: TroubleRates = { disconnects: 0, delays: 0, silence: 0, skew: 0 }

const lanes = new Uint32Array(4)

/** Whether the connection is cut right behind reading `seq`. */
export function isCutBehind(seed: number, troubles: TroubleRates, device: number, seq: number): boolean {
  if (troubles.disconnects === 0) return false
  mix(lanes, seed, device, seq, STREAM.disconnect)
  return unit(lanes[0]) < troubles.disconnects
}

/** The seq whose time must have come before reading `seq` is sent: `seq` itself where nothing holds it up. */
export function heldUntil(seed: number, troubles: TroubleRates, device: number, seq: number): number {
  let until = seq
  if (troubles.delays > 0) {
    mix(lanes, seed, device, seq, STREAM.delay)
    if (unit(lanes[0]) < troubles.delays) until += 1 + (lanes[1] % DELAY_INTERVALS_MAX)
  }
  if (troubles.silence > 0) until = Math.max(until, endOfSilence(seed, troubles.silence, device, seq))
  return until
}

/** By how many ms the clock of a device is ahead; behind where negative. */
export function clockSkewMs(seed: number, rate: number, device: number): number {
  if (rate === 0) return 0
  mix(lanes, seed, device, 0, STREAM.skew)
  return unit(lanes[0]) < rate ? Math.round((2 * unit(lanes[1]) - 1) * SKEW_MS_MAX) : 0
}

/** A silence begins in the first half of its block and ends within it. */
function endOfSilence(seed: number, rate: number, device: number, seq: number): number {
  const block = Math.floor(seq / SILENCE_BLOCK_SEQS)
  mix(lanes, seed, device, block, STREAM.silence)
  if (unit(lanes[0]) >= rate) return seq
  const first = block * SILENCE_BLOCK_SEQS + Math.floor((unit(lanes[1]) * SILENCE_BLOCK_SEQS) / 2)
  const end = first + SILENCE_INTERVALS_MIN + Math.floor(unit(lanes[2]) * (SILENCE_INTERVALS_END - SILENCE_INTERVALS_MIN))
  return seq >= first && seq < end ? end : seq
}
