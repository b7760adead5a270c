import type { Device } from './device.js'
import type { Plan } from './feature-plan.js'
import type { FeatureSinks } from './features.js'
import { FEATURE, featuresLayout } from './layouts.js'
import type { Outputs } from './outputs.js'
import type { RowLayout, Rows } from './rows.js'
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
  /** Rows written since the start of the process. */
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

  row(asOfMs: number, revision: number, provisional: boolean, eventCount: number, coverage: number, values: WindowValues): void {
    const { ingestMs } = this
    const out = this.outputs.rowsFor(this.layoutOf(this.plan), asOfMs, ingestMs)
    out.reserve(1)
    const { count } = out
    out.indicesOf(FEATURE.device)[count] = this.deviceIn(out)
    out.numbersOf(FEATURE.asOf)[count] = asOfMs
    out.numbersOf(FEATURE.knownAt)[count] = ingestMs
    out.numbersOf(FEATURE.computedAt)[count] = ingestMs
    out.numbersOf(FEATURE.revision)[count] = revision
    out.numbersOf(FEATURE.provisional)[count] = provisional ? 1 : 0
    out.numbersOf(FEATURE.eventCount)[count] = eventCount
    out.numbersOf(FEATURE.coverage)[count] = coverage
    out.numbersOf(FEATURE.processorVersion)[count] = PROCESSOR_VERSION
    let column: number = FEATURE.features
    for (let f = 0; f < values.features.length; f++) out.numbersOf(column++)[count] = values.features[f]
    for (let f = 0; f < values.flags.length; f++) out.numbersOf(column++)[count] = values.flags[f]
    out.endRows(1)
    this.rows++
    if (revision > 0) this.corrections++
  }

  /** The device's place in the dictionary of the rows. */
  private deviceIn(rows: Rows): number {
    const { device } = this
    if (device.featureRows !== rows.serial) {
      device.featureRows = rows.serial
      device.featureText = rows.indexOf(device.deviceId)
    }
    return device.featureText
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
