/** Panes under another plan of the same profile. */
import {
  type Accumulator,
  EVICTED_THROUGH,
  LAST_TWO_DOUBLES,
  OLD_COUNT,
  OLD_FIRST,
  OLD_SLOTS,
  PANE_END,
  PANE_READINGS,
  PARTS,
  type TablePlan,
  YOUNG_COUNT
} from './feature-plan.js'
import { addToCount, clearOld, countAt, oldBase } from './old-panes.js'
import { clearPane, type Panes, readingsIn } from './panes.js'

interface Kept {
  readonly here: Accumulator
  readonly there: Accumulator
}

/** Copies the panes of `here`, a table of `from`, into `there`, an empty table of `to` with the same hop. */
export function panesUnder(from: Panes, here: TablePlan, to: Panes, there: TablePlan): void {
  to.data[there.headAt + EVICTED_THROUGH] = from.data[here.headAt + EVICTED_THROUGH]
  const kept: Kept[] = []
  for (const accumulator of there.accumulators) {
    const name = to.plan.profile.metrics[accumulator.metric].name
    const same = here.accumulators.find(({ metric }) => from.plan.profile.metrics[metric].name === name)
    if (same !== undefined && keepsAll(same, accumulator)) kept.push({ here: same, there: accumulator })
  }
  to.resize(there, from.data[here.headAt + OLD_SLOTS], from.count(here))
  copyYoung(from, here, to, there, kept)
  copyOld(
    from,
    here,
    to,
    there,
    kept.filter(pair => keepsAllOld(pair.here, pair.there))
  )
}

function keepsAll(here: Accumulator, wanted: Accumulator): boolean {
  return (wanted.lastTwo < 0 || here.lastTwo >= 0) && PARTS.every(part => wanted[part] < 0 || here[part] >= 0)
}

function keepsAllOld(here: Accumulator, wanted: Accumulator): boolean {
  return PARTS.every(part => wanted.old[part] < 0 || here.old[part] >= 0)
}

function copyYoung(from: Panes, here: TablePlan, to: Panes, there: TablePlan, kept: readonly Kept[]): void {
  const count = from.count(here)
  to.data[there.headAt + YOUNG_COUNT] = count
  const keepsRows = here.isRowHop && there.isRowHop
  for (let pane = 0; pane < count; pane++) {
    const at = from.baseOf(here, pane)
    const into = to.baseOf(there, pane)
    clearPane(to.data, into, there)
    to.data[into + PANE_END] = from.data[at + PANE_END]
    to.data[into + PANE_READINGS] = keepsRows ? from.data[at + PANE_READINGS] : readingsIn(from.data, at)
    for (const pair of kept) {
      to.data[into + pair.there.n] = from.data[at + pair.here.n]
      for (const part of PARTS) if (pair.there[part] >= 0) to.data[into + pair.there[part]] = from.data[at + pair.here[part]]
      if (pair.there.lastTwo >= 0) copyLastTwo(from.data, at + pair.here.lastTwo, to.data, into + pair.there.lastTwo)
    }
  }
}

function copyOld(from: Panes, here: TablePlan, to: Panes, there: TablePlan, kept: readonly Kept[]): void {
  const count = from.data[here.headAt + OLD_COUNT]
  to.data[there.headAt + OLD_COUNT] = count
  to.data[there.headAt + OLD_FIRST] = from.data[here.headAt + OLD_FIRST]
  for (let slot = 0; slot < count; slot++) {
    clearOld(to, there, slot)
    const at = oldBase(from, here, slot)
    const into = oldBase(to, there, slot)
    addToCount(to.data, into, 0, countAt(from.data, at, 0))
    for (const pair of kept) {
      addToCount(to.data, into, pair.there.countPlace, countAt(from.data, at, pair.here.countPlace))
      for (const part of PARTS) if (pair.there.old[part] >= 0) to.data[into + pair.there.old[part]] = from.data[at + pair.here.old[part]]
    }
  }
  for (const pair of kept) if (pair.there.lastTwo >= 0) copyLastTwo(from.data, pair.here.oldLastTwoAt, to.data, pair.there.oldLastTwoAt)
}

function copyLastTwo(from: Float64Array, at: number, to: Float64Array, into: number): void {
  for (let i = 0; i < LAST_TWO_DOUBLES; i++) to[into + i] = from[at + i]
}
