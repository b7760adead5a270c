/** Feature rows on their way from a device's panes into the outputs. */
import type { Device } from './device.js'
import type { Plan } from './feature-plan.js'
import type { FeatureSinks } from './features.js'
import { FEATURE, featuresLayout } from './layouts.js'
import type { Outputs } from './outputs.js'
import type { RowLayout } from './rows.js'
import type { WindowValues } from './windows.js'

/** The version of what features mean; a column of their rows. Raise it when a formula changes. */
export const PROCESSOR_VERSION = 1

/** Writes one device's feature rows into the outputs. */
export class FeatureRowWriter implements FeatureSinks {
  private readonly layouts = new Map<Plan, RowLayout>()
  private readonly outputs: Outputs
  private plan!: Plan
  private device!: Device
  private layoutPlan: Plan | null = null
  private layout!: RowLayout
  private ingestMs = 0
  /** Rows written since the state was made or restored: no part of a snapshot. */
  rows = 0
  corrections = 0

  constructor(outputs: Outputs) {
    this.outputs = outputs
  }

  /** Names whose rows come next, and the ingest time at which their inputs were in. */
  of(device: Device, plan: Plan, ingestMs: number): this {
    this.device = device
    this.plan = plan
    this.ingestMs = ingestMs
    return this
  }

  /** Counts a row that nobody wants; answers false where it is wanted. */
  skips(asOfMs: number, revision: number): boolean {
    const { outputs } = this
    if (outputs.discardsFrom === Number.POSITIVE_INFINITY) return false
    const rows = outputs.rowsToStage(this.layoutOf(this.plan), asOfMs, this.ingestMs, 0)
    if (!rows.isDiscarded) return false
    rows.endRows(1)
    outputs.rows++
    this.count(revision)
    return true
  }

  row(asOfMs: number, revision: number, provisional: boolean, eventCount: number, coverage: number, values: WindowValues): void {
    const { ingestMs } = this
    const out = this.outputs.rowsToStage(this.layoutOf(this.plan), asOfMs, ingestMs)
    const at = out.stage()
    const { staged } = out
    staged[at + FEATURE.device] = out.indexOfDevice(this.device)
    staged[at + FEATURE.asOf] = asOfMs
    staged[at + FEATURE.knownAt] = ingestMs
    staged[at + FEATURE.computedAt] = ingestMs
    staged[at + FEATURE.revision] = revision
    staged[at + FEATURE.provisional] = provisional ? 1 : 0
    staged[at + FEATURE.eventCount] = eventCount
    staged[at + FEATURE.coverage] = coverage
    staged[at + FEATURE.processorVersion] = PROCESSOR_VERSION
    const { features, flags } = values
    const firstFeature = at + FEATURE.features
    for (let f = 0; f < features.length; f++) staged[firstFeature + f] = features[f]
    const firstFlag = firstFeature + features.length
    for (let f = 0; f < flags.length; f++) staged[firstFlag + f] = flags[f]
    out.endStaged()
    this.count(revision)
  }

  private count(revision: number): void {
    this.rows++
    if (revision > 0) this.corrections++
  }

  repair(fromMs: number, throughMs: number): void {
    this.outputs.markRepair(this.device.deviceId, this.plan.profile.name, fromMs, throughMs)
  }

  private layoutOf(plan: Plan): RowLayout {
    if (this.layoutPlan === plan) return this.layout
    const layout = this.layouts.get(plan) ?? featuresLayout(plan)
    this.layouts.set(plan, layout)
    this.layoutPlan = plan
    this.layout = layout
    return layout
  }
}
