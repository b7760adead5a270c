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
export { runFleet } from './fleet.js'
export { type FleetOptions, type FleetPhase, type FleetProgress, type FleetReport, reportToJson } from './fleet-options.js'
export type { Quantiles } from './latency.js'
export { failuresAround, type Machine, METRIC, machineOf, measure } from './machine.js'
export { expectedReadings, FATES, type OracleBlock } from './oracle.js'
export { parseRun, type Run, runToJson } from './run-file.js'
export { resultToJson, type VerifyOptions, type VerifyResult, verifyArchive } from './verify.js'
