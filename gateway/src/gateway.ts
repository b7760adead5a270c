/** Wires the gateway: front -> log -> processor -> archive, and what stops it in the right order. */
import { join } from 'node:path'
import type { Logger } from 'pino'
import { type Config, ConfigError } from './config.js'
import { lockDataDir } from './data-lock.js'
import { Lateness } from './drain/lateness.js'
import { createFronts } from './front/fronts.js'
import { HttpAdmissions } from './front/http-admission.js'
import { Presence } from './front/presence.js'
import { removeGatewayFile, writeGatewayFile } from './gateway-file.js'
import { batchRoutes } from './http/batch-routes.js'
import { deviceRoutes, type Registry } from './http/device-routes.js'
import { healthRoutes } from './http/health-routes.js'
import { listenHttp } from './http/http-server.js'
import { createMetrics } from './http/metrics.js'
import { type RequeueTarget, requeueRoutes } from './http/requeue-routes.js'
import { servingRoutes } from './http/serving-routes.js'
import { LogClient } from './log/log-client.js'
import { MaintenanceClient } from './maintenance/maintenance-client.js'
import { PipelineClient } from './pipeline/pipeline-client.js'
import { type Control, encodeControl } from './processor/control.js'
import { RepairTrigger } from './repair/repair-trigger.js'
import { seldom } from './seldom.js'
import { Serving } from './serving/serving.js'
import { ServingClient } from './serving/serving-client.js'
import { giveWayTo, threadId } from './thread-priority.js'

/** Bytes of the log that the processor may be behind before PUBACKs are delayed: they lie on disk, not in memory. */
const BEHIND_BYTES_MAX = 2 * 1024 ** 3

/** A disk that refuses the log refuses every few ms; a line that often says enough. */
const REFUSAL_LINE_MS = 10_000

export interface Gateway {
  readonly mqttPort: number
  readonly httpPort: number
  /** Resolves with what went wrong, when the gateway can no longer work. */
  readonly failed: Promise<Error>
  /** Stops taking in, makes everything durable: log, rows, a snapshot. */
  stop(): Promise<void>
}

/** Starts a gateway. Throws a `ConfigError` for what the person must change. */
export async function startGateway(config: Config, logger: Logger): Promise<Gateway> {
  const lock = lockDataDir(config.dataDir)
  removeGatewayFile(config.dataDir)
  let fail: (error: Error) => void = () => {}
  const failed = new Promise<Error>(resolve => (fail = resolve))
  const log = await LogClient.open(join(config.dataDir, 'log.sqlite')).catch(asConfigError)
  log.onFailure(fail)
  log.onRefused = seldom(REFUSAL_LINE_MS, error => logger.error(error.message))
  const presence = new Presence()
  let isServing = false
  let isStopping = false
  let isLate = () => false // until there are fronts
  const trigger = new RepairTrigger(config.repairIntervalMs)
  const pipeline = await PipelineClient.open(
    { dataDir: config.dataDir, lastEntry: log.lastEntry, drain: config.drain },
    {
      onFailure: fail,
      onTruncate: throughEntry => log.truncate(throughEntry),
      onStats: client => {
        if (!isStopping) regulate(log, client)
        if (isLate()) client.noteLate()
        const { repairMarks: marks, repairing } = client.stats!
        // Refused by a full disk, it is ordered again when its time has come.
        if (isServing && !isStopping && trigger.isDue({ marks, repairing })) appendControl(log, { control: 'repair' }).catch(() => {})
      },
      onRepaired: (repaired, marksLeft) => {
        trigger.noteLeft(marksLeft)
        logger.info({ ...repaired, marksLeft }, 'repaired features of old hours')
      },
      onNotices: notices => {
        for (const { deviceId, epoch } of notices) presence.tell(deviceId, { epoch_spent: epoch })
      },
      onGrants: grants => {
        for (const { deviceId, readingsPerSecond } of grants) presence.grant(deviceId, readingsPerSecond)
      },
      onConfigs: configs => {
        for (const { deviceId, message } of configs) presence.setConfig(deviceId, message)
      }
    },
    logger
  ).catch(asConfigError)
  log.onEntry = entry => pipeline.noteEntry(entry)
  pipeline.noteEntry(log.lastEntry)
  const startedEntry = await appendControl(log, { control: 'start', settings: config.settings, profiles: config.profiles })

  const maintenance = new MaintenanceClient({ dataDir: config.dataDir, config: config.maintenance }, logger)
  const fronts = await createFronts(config.front, log, presence, logger)
  const lateness = new Lateness()
  isLate = () => log.isFull || lateness.judge(fronts.stats().pubacks)
  isServing = true
  const admissions = new HttpAdmissions(log)
  const metrics = createMetrics({ fronts, admissions, log, pipeline, maintenance })
  const notReady = () => pipeline.stats?.archiveError ?? (log.lastWaveRefused ? 'the log cannot be written' : fronts.notReady())
  const registry = registryOf(config, log, pipeline, startedEntry)
  const archiveReader = new ServingClient(config.dataDir)
  const serving = new Serving(pipeline, log, archiveReader)
  const routes = [
    healthRoutes({ metrics, notReady }),
    deviceRoutes(registry),
    batchRoutes(admissions),
    requeueRoutes(requeueTargetOf(config, log, pipeline)),
    servingRoutes({ serving, metrics: metricNames(config), profiles: registry.profiles })
  ]
  const onFault = (error: Error) => logger.error({ error: error.stack }, 'a request over HTTP failed')
  const http = await listenHttp(config.http, routes, { token: config.httpToken, onFault }).catch(error =>
    refusePort('http', config.http, error)
  )
  const mqttPort = await fronts.listen(config.mqtt.host, config.mqtt.port).catch(error => refusePort('mqtt', config.mqtt, error))

  giveWayTo([threadId(), log.thread])

  writeGatewayFile(config.dataDir, {
    http: reachable(config.http.host, http.port),
    mqtt: reachable(config.mqtt.host, mqttPort),
    pid: process.pid,
    ...(config.httpTokenFile === null ? {} : { token_file: config.httpTokenFile })
  })
  return {
    mqttPort,
    httpPort: http.port,
    failed,
    async stop() {
      isStopping = true
      log.release() // PUBACKs that were delayed come now
      await fronts.close()
      await maintenance.close()
      const drained = await appendControl(log, { control: 'drain' })
      await pipeline.drain(drained)
      await http.close()
      await archiveReader.close()
      await pipeline.close()
      await log.close()
      removeGatewayFile(config.dataDir)
      lock.close()
    }
  }
}

function requeueTargetOf({ settings, profiles }: Config, log: LogClient, pipeline: PipelineClient): RequeueTarget {
  const startWith = (inForce: Config['profiles']) => {
    const payload = encodeControl({ control: 'start', settings, profiles: inForce })
    return { kind: 'control' as const, deviceId: '', payload }
  }
  return {
    profiles,
    get lastEntry() {
      return log.lastEntry
    },
    mark: () => pipeline.ask({ ask: 'requeue-mark' }, log.lastEntry),
    async append(messages, others) {
      const requeues = messages.map(message => ({ kind: 'requeue' as const, ...message }))
      const frames = others === null ? requeues : [startWith(others), ...requeues, startWith(profiles)]
      const entry = await new Promise<number>((resolve, reject) =>
        log.appendTogether(frames, (error, entry) => (error === null ? resolve(entry) : reject(error)))
      )
      await pipeline.ask({ ask: 'requeue-mark' }, entry)
      return entry
    }
  }
}

function metricNames({ profiles }: Config): string[] {
  return [...new Set(profiles.flatMap(({ metrics }) => metrics.map(({ name }) => name)))]
}

/** `startedEntry`: the registry is not shown before the processor has come up to here. */
function registryOf({ profiles }: Config, log: LogClient, pipeline: PipelineClient, startedEntry: number): Registry {
  return {
    profiles: [...new Set(profiles.map(({ name }) => name))],
    devices: () => pipeline.ask({ ask: 'devices' }, startedEntry),
    device: deviceId => pipeline.ask({ ask: 'device', deviceId }, startedEntry),
    async set(deviceId, settings) {
      const entry = await appendControl(log, { control: 'device', deviceId, settings })
      return await pipeline.ask({ ask: 'device', deviceId }, entry)
    }
  }
}

/** Where this machine reaches what listens on `host`. */
function reachable(host: string, port: number): string {
  const local = host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '::1' : host
  return local.includes(':') ? `[${local}]:${port}` : `${local}:${port}`
}

/** Delays PUBACKs while the processor is too far behind. */
function regulate(log: LogClient, pipeline: PipelineClient): void {
  const behindBytes = pipeline.behindBytes + log.appendedBytes - pipeline.stats!.appliedBytes
  if (behindBytes > BEHIND_BYTES_MAX) log.hold()
  else if (behindBytes < BEHIND_BYTES_MAX / 2) log.release()
}

export function appendControl(log: LogClient, control: Control): Promise<number> {
  return new Promise((resolve, reject) => {
    log.append('control', '', encodeControl(control), (error, entry) => (error === null ? resolve(entry) : reject(error)))
  })
}

function asConfigError(error: Error): never {
  throw new ConfigError(error.message, { cause: error })
}

function refusePort(name: string, { host, port }: { host: string; port: number }, error: NodeJS.ErrnoException): never {
  const why = error.code === 'EADDRINUSE' ? 'is taken by another process' : `cannot be listened on (${error.message})`
  throw new ConfigError(`${name}: ${host}:${port} ${why}: stop that process, or choose another with --${name} HOST:PORT`, { cause: error })
}
