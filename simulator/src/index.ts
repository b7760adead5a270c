export { BrokerUnreachableError, ResourceError, UsageError } from './broker.js'
export { BrokerRefusedError, Connection, type ConnectionEvents, type InFlight } from './connection.js'
export {
  type Device,
  deviceId,
  deviceOf,
  epochOf,
  eventTimeMs,
  newReadingColumns,
  type ReadingColumns,
  type RunPlan,
  trueTimeMs,
  writeReading
} from './device.js'
export { type Fault, type FaultRates, faultAt, holdSeqs, NO_FAULTS, rejectReasonOf, skewIntervals } from './faults.js'
export {
  type FleetBacklog,
  type FleetOptions,
  type FleetPhase,
  type FleetProgress,
  type FleetReport,
  reportToJson
} from './fleet-options.js'
export { jsonEventId } from './json-payload.js'
export { Latency, type Quantiles } from './latency.js'
export { DESTINATION_CONNECTIONS_MAX } from './limits.js'
export { failuresAround, type Machine, METRIC, machineOf, measure } from './machine.js'
export { FATES, Oracle } from './oracle.js'
export { parseRun, type Run, runToJson } from './run-file.js'
export { runFleet } from './run-fleet.js'
export { NO_TROUBLES, type TroubleRates } from './troubles.js'
export { resultToJson, type VerifyOptions, type VerifyResult, verifyArchive } from './verify.js'
