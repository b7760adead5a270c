/** The folder of one replay: configurations, buffer, the gateway's data folder, logs. What the numbers are small for: many commits. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import type { Profile } from '@tidemark/protocol'
import { stringify } from 'yaml'
import type { Draw } from './draw.js'
import type { Recording } from './recording.js'

export interface Stage {
  readonly folder: string
  readonly deviceId: string
  readonly gatewayConfig: string
  readonly gatewayData: string
  readonly agentConfig: string
  readonly buffer: string
  readonly batchReadings: number
  readonly inFlight: number
  logPath(name: string): string
  /** Writes the agent's configuration once it is known where the gateway listens. */
  writeAgentConfig(mqttPort: number): void
}

export interface StageOptions {
  readonly recording: Recording
  readonly profile: Profile
  /** null: the profile is a built-in one. */
  readonly profileFile: string | null
  readonly draw: Draw
}

/** So many batches that there is something to kill between, and batches that hold more than a reading or two. */
const BATCHES_WANTED = 150
const BATCH_READINGS_MIN = 5
const BATCH_READINGS_MAX = 40
const IN_FLIGHT = 4
const DEVICE_ID = 'replayed'

export function setStage(folder: string, { recording, profile, profileFile, draw }: StageOptions): Stage {
  const batchReadings = Math.min(BATCH_READINGS_MAX, Math.max(BATCH_READINGS_MIN, Math.round(recording.rows.length / BATCHES_WANTED)))
  const stage: Stage = {
    folder,
    deviceId: DEVICE_ID,
    gatewayConfig: join(folder, 'gateway.yaml'),
    gatewayData: join(folder, 'gateway'),
    agentConfig: join(folder, 'agent.yaml'),
    buffer: join(folder, 'buffer.sqlite'),
    batchReadings,
    inFlight: IN_FLIGHT,
    logPath: name => join(folder, 'logs', `${name}.log`),
    writeAgentConfig: mqttPort =>
      writeFileSync(
        stage.agentConfig,
        stringify({
          device_id: DEVICE_ID,
          gateway: { url: `mqtt://127.0.0.1:${mqttPort}` },
          ...(profileFile === null ? { profile: profile.name } : { profile_file: resolve(profileFile) }),
          buffer: { path: stage.buffer, durability: 'strict' },
          source: {
            type: 'csv',
            path: resolve(recording.path),
            delimiter: recording.delimiter,
            time: { column: recording.timeColumn, zone: 'UTC' },
            columns: recording.columns,
            speed: 'max'
          },
          publish: { in_flight: IN_FLIGHT, batch_readings: batchReadings, backoff: { min: '20ms', max: '200ms' } }
        })
      )
  }
  mkdirSync(join(folder, 'logs'), { recursive: true })
  writeFileSync(stage.gatewayConfig, stringify(gatewayConfig(profileFile, draw)))
  return stage
}

/** Small hours sometimes wait over a flush boundary, and snapshots sometimes skip one: recovery must bear both. */
function gatewayConfig(profileFile: string | null, draw: Draw): object {
  return {
    flush: { interval: '300ms', small_hour_wait: draw.pick(['1ms', '1500ms']), snapshot_every: draw.integer(1, 2) },
    correction_interval: '200ms',
    profiles: profileFile === null ? [] : [resolve(profileFile)]
  }
}
