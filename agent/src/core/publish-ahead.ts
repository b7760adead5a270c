import { BACKLOG_AHEAD_READINGS, PUBLISH_AHEAD_READINGS } from '../limits.js'

/**
 * Up to which position it is noted durably that readings may have been published, when those up to `position` are to be: not each batch
 * pays for a commit. Pure. `nextPosition`: that of the next reading to be sampled.
 */
export function publishedAhead(position: number, nextPosition: number): number {
  return Math.max(position + PUBLISH_AHEAD_READINGS, Math.min(position + BACKLOG_AHEAD_READINGS, nextPosition - 1))
}
