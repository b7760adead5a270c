/** Takes the readings of a plain batch into the panes: what lies in one hop at once. */
import type { PlainBatch } from '@tidemark/protocol'
import type { Device } from './device.js'
import type { Features } from './features.js'
import type { Order } from './pane.js'
import type { KnownProfile, State } from './state.js'

/** Takes readings [from, behind) in, each as if by itself: what it lets out goes out before the next. */
export function addToFeatures(state: State, device: Device, known: KnownProfile, plain: PlainBatch, from: number, behind: number): void {
  if (plain.count === 1 && addToOpenPanes(state, device, known, plain)) return
  for (let i = from; i < behind; ) {
    const features = device.features.length === 1 ? device.features[0] : null // the first reading makes them
    if (features === null || features.plan !== known.plan) {
      addOne(state, device, known, plain, i++)
      continue
    }
    const firstMs = plain.eventTimesMs[i]
    state.advanceBefore(device, features, firstMs)
    const first = i++
    while (i < behind && features.isInOpenHop(firstMs, plain.eventTimesMs[i])) i++
    addRun(state, device, features, plain, first, i)
  }
}

/** Takes in the only reading of the batch, where nothing follows from it. */
function addToOpenPanes(state: State, device: Device, { plan }: KnownProfile, plain: PlainBatch): boolean {
  const features = device.features.length === 1 ? device.features[0] : null
  const timeMs = plain.eventTimesMs[0]
  if (features === null || features.plan !== plan || timeMs < device.watermarkMs) return false
  setOrder(plain, 0)
  if (!features.addToOpenPanes(order, plain.values)) return false
  state.moveWatermark(device, timeMs)
  return true
}

/** Takes readings of one hop in. No row may become due by them, or before the last of them. */
function addRun(state: State, device: Device, features: Features, plain: PlainBatch, from: number, behind: number): void {
  const { eventTimesMs } = plain
  features.addRun(plain, from, behind, state.sinks(device, features))
  let { watermarkMs } = device
  let isLate = false
  for (let i = from; i < behind; i++) {
    if (eventTimesMs[i] < watermarkMs) isLate = true
    else watermarkMs = eventTimesMs[i]
  }
  if (isLate || features.isDirty) state.dirty.add(device)
  state.raiseWatermark(device, watermarkMs)
}

const order: { -readonly [key in keyof Order]: Order[key] } = { timeMs: 0, epoch: 0, seq: 0 }
let one = new Float64Array(0)

function addOne(state: State, device: Device, { plan }: KnownProfile, plain: PlainBatch, i: number): void {
  const { length } = plan.profile.metrics
  if (one.length !== length) one = new Float64Array(length)
  for (let m = 0; m < length; m++) one[m] = plain.values[m * plain.count + i]
  setOrder(plain, i)
  state.addToFeatures(device, plan, order, one, true)
  state.raiseWatermark(device, order.timeMs)
}

function setOrder(plain: PlainBatch, i: number): void {
  order.epoch = plain.epoch
  order.timeMs = plain.eventTimesMs[i]
  order.seq = plain.seqs[i]
}
