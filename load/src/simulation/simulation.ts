/** One run of a seed: faults while the devices sample, then calm until all is delivered, then a stop in order, then the checks. */
import { SimulatedAgent } from './agent.js'
import { ackedMeansDurable, exactlyOnce, ledgersCountWhatWasSampled, nothingDropped } from './checks/delivery.js'
import { lateOnlyWithExcuse, untouchedByOthers } from './checks/event-time.js'
import type { Check, Evidence } from './checks/evidence.js'
import { joinedWithoutLeak, knownBeforeUsed, lateCorrectsFeatures } from './checks/features.js'
import { reproducible } from './checks/reproducible.js'
import { JsonDevice, PoisonDevice } from './devices.js'
import { Draw, STREAM } from './draw.js'
import { SimulatedGateway } from './gateway.js'
import { Network } from './network.js'
import type { Plant, Violation } from './plants.js'
import { rowsOf } from './rows.js'
import { type Scenario, scenarioOf } from './scenario.js'
import { Scheduler } from './scheduler.js'
import { Truth } from './truth.js'
import type { World } from './world.js'

/** Most virtual time that the faults may keep the devices from sampling, and that delivery may take in calm, ms. */
const TROUBLE_MS_MAX = 3 * 3_600_000
const CALM_MS_MAX = 6 * 3_600_000

/** Virtual time at the end, in which the last notices and corrections settle, ms. */
const SETTLE_MS = 20_000

const CHECKS: readonly Check[] = [
  ackedMeansDurable,
  exactlyOnce,
  ledgersCountWhatWasSampled,
  nothingDropped,
  lateCorrectsFeatures,
  lateOnlyWithExcuse,
  untouchedByOthers,
  reproducible,
  knownBeforeUsed,
  joinedWithoutLeak
]

export interface SimulationResult {
  readonly seed: number
  /** Of everything that happened, in order: equal for equal runs. */
  readonly digest: string
  /** Empty: all promises are kept. */
  readonly violations: readonly Violation[]
  readonly counts: SimulationCounts
}

export interface SimulationCounts {
  events: number
  sampled: number
  archived: number
  late: number
  quarantined: number
  shed: number
  destroyed: number
  duplicates: number
  featureRows: number
  corrections: number
  repairs: number
  /** Epochs beyond a device's first. */
  epochs: number
  snapshots: number
  damagedSnapshots: number
  tornTails: number
  agentCrashes: number
  gatewayCrashes: number
  agentClockSteps: number
  gatewayClockSteps: number
  lostMessages: number
  doubledMessages: number
  overtakingMessages: number
  cutConnections: number
}

/** Runs a seed; `plant` plants a bug. Never throws for what the simulated parts do: that is a violation. */
export function simulate(seed: number, plant: Plant | null = null): SimulationResult {
  const scenario = scenarioOf(seed)
  const scheduler = new Scheduler(scenario.startMs)
  const network = new Network(scheduler, new Draw(seed, STREAM.network), scenario.network)
  const world: World = { seed, scheduler, network, truth: new Truth(), plant }
  const gateway = new SimulatedGateway(world, scenario)
  network.front = gateway
  const agents = scenario.agents.map((agent, i) => new SimulatedAgent(i, agent, world))
  const violations: Violation[] = []
  attempt(violations, () => run(scenario, world, gateway, agents))
  const evidence = evidenceOf(scenario, world, gateway)
  if (violations.length === 0) for (const check of CHECKS) attempt(violations, () => violations.push(...check(evidence)))
  return { seed, violations, counts: countsOf(evidence, agents, gateway), digest: digestOf(evidence) }
}

/** What the cores throw is a violation: they must go on. */
function attempt(violations: Violation[], work: () => void): void {
  try {
    work()
  } catch (error) {
    violations.push({ promise: 'goes-on', message: error instanceof Error ? (error.stack ?? error.message) : String(error) })
  }
}

function run(scenario: Scenario, world: World, gateway: SimulatedGateway, agents: readonly SimulatedAgent[]): void {
  const { scheduler, network } = world
  const others = [
    ...scenario.jsonDevices.map(deviceId => new JsonDevice(deviceId, world)),
    ...(scenario.hasPoison ? [new PoisonDevice('poison-1', world)] : [])
  ]
  const devices = [...agents, ...others]
  gateway.start()
  for (const device of devices) device.start()
  expectDone(
    scheduler.runUntil(() => devices.every(device => device.hasSampledAll), scheduler.nowMs + TROUBLE_MS_MAX),
    'sampling'
  )
  network.heal()
  gateway.heal()
  for (const agent of agents) agent.heal()
  const isDelivered = () => gateway.isListening && devices.every(device => device.hasEnded)
  expectDone(scheduler.runUntil(isDelivered, scheduler.nowMs + CALM_MS_MAX), 'delivery in calm')
  scheduler.runUntil(() => false, scheduler.nowMs + SETTLE_MS)
  expectDone(scheduler.runUntil(isDelivered, scheduler.nowMs + CALM_MS_MAX), 'delivery under a new epoch')
  let isStopped = false
  gateway.stop(() => {
    isStopped = true
  })
  expectDone(
    scheduler.runUntil(() => isStopped, scheduler.nowMs + CALM_MS_MAX),
    'the stop in order'
  )
}

function expectDone(isDone: boolean, what: string): void {
  if (!isDone) throw new Error(`${what} never comes to its end`)
}

function evidenceOf(scenario: Scenario, world: World, { log, archive }: SimulatedGateway): Evidence {
  const files = [...archive.visible.values()]
  return {
    world,
    scenario,
    truth: world.truth,
    log: log.witness,
    durableMessages: log.durableMessages,
    files: archive.visible,
    snapshots: archive.everTaken,
    epochs: [...archive.epochs.values()],
    repairs: archive.repairs,
    readings: rowsOf(files, 'processed'),
    features: rowsOf(files, 'curated'),
    quarantine: rowsOf(files, 'quarantine')
  }
}

function countsOf(evidence: Evidence, agents: readonly SimulatedAgent[], { log, archive, crashes }: SimulatedGateway): SimulationCounts {
  const { world, truth, readings, quarantine, features, repairs, snapshots, epochs } = evidence
  const fates = [...truth.readings.values()].map(({ fate }) => fate)
  return {
    events: world.scheduler.events,
    sampled: truth.readings.size,
    archived: readings.length,
    late: readings.filter(row => row.late === true).length,
    quarantined: quarantine.length,
    shed: fates.filter(fate => fate === 'shed').length,
    destroyed: fates.filter(fate => fate === 'destroyed').length,
    duplicates: epochs.reduce((sum, { duplicates }) => sum + duplicates, 0),
    featureRows: features.length,
    corrections: features.filter(row => row.revision !== 0).length,
    repairs: repairs.length,
    epochs: epochs.length - new Set(epochs.map(({ deviceId }) => deviceId)).size,
    snapshots: snapshots.size,
    damagedSnapshots: archive.damagedSnapshots,
    tornTails: log.tornTails,
    agentCrashes: agents.reduce((sum, agent) => sum + agent.crashes, 0),
    gatewayCrashes: crashes,
    agentClockSteps: agents.reduce((sum, agent) => sum + agent.clockSteps, 0),
    gatewayClockSteps: log.clockSteps,
    lostMessages: world.network.counts.lost,
    doubledMessages: world.network.counts.doubled,
    overtakingMessages: world.network.counts.overtaking,
    cutConnections: world.network.counts.cut
  }
}

/** The trace, and behind it what came of it. */
function digestOf({ world: { scheduler }, readings, features }: Evidence): string {
  for (const row of [...readings, ...features]) scheduler.trace(JSON.stringify(row))
  return scheduler.digest()
}
