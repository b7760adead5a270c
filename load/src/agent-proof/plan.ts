/** What an agent will suffer, all of it drawn from the seed before it starts: a function of seed and number of kills. Pure. */
import { Draw } from '../replay/draw.js'

/**
 * `full`: the disk is filled while it samples, and has room again before the kill. `killed-full`: it is killed while the disk is full,
 * and started on the full disk. `damaged`: bytes of its buffer are overwritten while it is down.
 */
export type Trouble = 'none' | 'full' | 'killed-full' | 'damaged'

/** One life of the agent, which ends with SIGKILL. */
export interface Life {
  readonly trouble: Trouble
  /** While the gateway is away, or while the backlog drains. */
  readonly while: 'offline' | 'draining'
  /** Killed so soon that it may not have opened its buffer yet. */
  readonly isStillborn: boolean
  /** Its length, in parts of the mean life, in [0.2, 1.8). */
  readonly share: number
}

/** Kills that come while the backlog drains: one in so many. */
const DRAINING_EVERY = 10
const STILLBORN = 0.1
export const KILLS_MIN = 6

/** At least `KILLS_MIN` kills, so that each trouble has a life of its own. */
export function planLives(seed: number, kills: number): readonly Life[] {
  const draw = new Draw(seed)
  const draining = Math.max(1, Math.floor(kills / DRAINING_EVERY))
  const offline = kills - draining
  const within = (from: number, to: number) => draw.integer(Math.floor(offline * from), Math.max(Math.floor(offline * to) - 1, 0))
  const troubles = new Map<number, Trouble>([
    [within(0.2, 0.4), 'full'],
    [within(0.4, 0.6), 'damaged'],
    [within(0.6, 0.8), 'killed-full']
  ])
  return Array.from({ length: kills }, (_, i) => {
    const trouble = troubles.get(i) ?? 'none'
    return {
      trouble,
      while: i < offline ? 'offline' : 'draining',
      isStillborn: draw.chance(STILLBORN) && trouble === 'none',
      share: 0.2 + 1.6 * draw.fraction()
    }
  })
}
