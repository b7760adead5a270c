import type { Plan } from './feature-plan.js'
import type { FeatureRow, FeatureSinks } from './features.js'
import { FEATURE, featuresLayout } from './layouts.js'
import type { Outputs } from './outputs.js'
import type { RowLayout } from './rows.js'

/** The version of what features mean; a column of their rows. Raise it when a formula changes. */
export const PROCESSOR_VERSION = 1

/** Writes one device's feature rows into the outputs. */
export class FeatureRowWriter implements FeatureSinks {
  private readonly layouts = new Map<Plan, RowLayout>()
  private readonly outputs: Outputs
  private plan!: Plan
  private deviceId = ''
  private ingestMs = 0
  /** Rows written since the start of the process. */
  rows = 0
  corrections = 0

  constructor(outputs: Outputs) {
    this.outputs = outputs
  }

  /** Names whose rows come next, and the ingest time at which their inputs were in. */
  of(deviceId: string, plan: Plan, ingestMs: number): this {
    this.deviceId = deviceId
    this.plan = plan
    this.ingestMs = ingestMs
    return this
  }

  row(row: FeatureRow): void {
    const out = this.outputs.rowsFor(this.layoutOf(this.plan), row.asOfMs, this.ingestMs)
    out.putString(FEATURE.device, this.deviceId)
    out.putNumber(FEATURE.asOf, row.asOfMs)
    out.putNumber(FEATURE.knownAt, this.ingestMs)
    out.putNumber(FEATURE.computedAt, this.ingestMs)
    out.putNumber(FEATURE.revision, row.revision)
    out.putNumber(FEATURE.provisional, row.provisional ? 1 : 0)
    out.putNumber(FEATURE.eventCount, row.eventCount)
    out.putNumber(FEATURE.coverage, row.coverage)
    out.putNumber(FEATURE.processorVersion, PROCESSOR_VERSION)
    let column: number = FEATURE.features
    for (const value of row.values.features) out.putNumber(column++, value)
    for (const value of row.values.flags) out.putNumber(column++, value)
    out.endRow()
    this.rows++
    if (row.revision > 0) this.corrections++
  }

  repair(fromMs: number, throughMs: number): void {
    this.outputs.markRepair(this.deviceId, this.plan.profile.name, fromMs, throughMs)
  }

  private layoutOf(plan: Plan): RowLayout {
    let layout = this.layouts.get(plan)
    if (layout === undefined) {
      layout = featuresLayout(plan)
      this.layouts.set(plan, layout)
    }
    return layout
  }
}
