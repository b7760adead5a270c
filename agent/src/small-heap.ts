/**
 * Keeps the agent small: imported for its effect, before anything else. V8 grows the space for new objects up to 32 MB where many
 * survive, as they do while modules load, and gives that back late; an agent makes a few kilobytes of garbage a second.
 */
import { setFlagsFromString } from 'node:v8'

setFlagsFromString('--semi-space-growth-factor=1')

/** For an agent with much to do, a recording or a long backlog: a third more readings a second, for some 10 MB. */
export function letHeapGrow(): void {
  setFlagsFromString('--semi-space-growth-factor=2')
}
