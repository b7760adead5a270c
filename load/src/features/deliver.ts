/** Carries a delivery out with a real gateway, which repairs by itself what comes past its panes, and drains it at the end. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import type { Profile } from '@tidemark/protocol'
import { fetch } from 'undici'
import { stringify } from 'yaml'
import { Child } from '../child.js'
import { countRepairs, readGatewayDisk } from '../replay/gateway-disk.js'
import { ReplayError } from '../replay/replay-error.js'
import { until } from '../replay/waiting.js'
import { serving } from '../serving.js'
import type { Delivery, Pause } from './delivery.js'
import { WireDevice } from './wire.js'

const WAIT_MS_MAX = 120_000

/** What takes minutes otherwise. Snapshots and waiting small hours come as they do at work. */
const QUICK = {
  flush: { interval: '300ms', small_hour_wait: '1s', snapshot_every: 3 },
  correction_interval: '200ms',
  idle_timeout: '500ms',
  repair_interval: '300ms'
}

export interface DeliverOptions {
  readonly folder: string
  readonly profile: Profile
  /** null: the profile is a built-in one. */
  readonly profileFile: string | null
  readonly signal: AbortSignal
}

export interface Delivered {
  readonly dataDir: string
  /** Logs and what commands say. */
  logPath(name: string): string
}

export async function deliver(delivery: Delivery, options: DeliverOptions): Promise<Delivered> {
  const { profile, profileFile, signal } = options
  const folder = join(options.folder, delivery.name)
  const dataDir = join(folder, 'gateway')
  const logPath = (name: string) => join(folder, `${name}.log`)
  mkdirSync(folder, { recursive: true })
  const config = join(folder, 'gateway.yaml')
  writeFileSync(config, stringify({ ...QUICK, profiles: profileFile === null ? [] : [resolve(profileFile)] }))
  const gateway = new Child(
    'gateway',
    ['start', '--config', config, '--data-dir', dataDir, '--mqtt', '127.0.0.1:0', '--http', '127.0.0.1:0'],
    logPath('gateway')
  )
  const onAbort = () => gateway.endAll()
  signal.addEventListener('abort', onAbort, { once: true })
  try {
    const { mqtt, http } = await serving(gateway)
    const mqttPort = Number(mqtt.split(':')[1])
    const devices = new Map<string, WireDevice>()
    for (const [i, { deviceId, rows, pause }] of delivery.steps.entries()) {
      const device = devices.get(deviceId) ?? new WireDevice(deviceId, profile)
      devices.set(deviceId, device)
      const isLast = !delivery.steps.slice(i + 1).some(step => step.deviceId === deviceId)
      await device.send(mqttPort, rows, isLast)
      await settle(pause, dataDir, profile, `http://${http}`)
    }
    await gateway.endWell()
    return { dataDir, logPath }
  } catch (error) {
    if (signal.aborted) throw new ReplayError('interrupted', { cause: error })
    throw error
  } finally {
    signal.removeEventListener('abort', onAbort)
    gateway.endAll()
    await gateway.exited
  }
}

/** `idle`: every device is idle, so that open hops were shown as provisional rows. */
async function settle(pause: Pause, dataDir: string, profile: Profile, httpUrl: string): Promise<void> {
  const isFlushed = () => {
    const { lastBatchEntry, committedEntry, waiting } = readGatewayDisk(dataDir, profile)
    return committedEntry >= lastBatchEntry && waiting === 0
  }
  await until(isFlushed, 'a flush of the gateway', WAIT_MS_MAX)
  if (pause === 'repaired') await until(() => countRepairs(dataDir) === 0, 'a repair of what is marked', WAIT_MS_MAX)
  if (pause !== 'idle') return
  let idle = 0
  let devices = -1
  const ask = async () => {
    const text = await (await fetch(`${httpUrl}/metrics`)).text()
    const metric = (name: string) => Number(new RegExp(`^${name} (.*)$`, 'm').exec(text)?.[1] ?? Number.NaN)
    idle = metric('tidemark_idle_devices')
    devices = metric('tidemark_devices')
  }
  for (const limit = performance.now() + WAIT_MS_MAX; idle !== devices; ) {
    await delay(100)
    await ask()
    if (performance.now() > limit) throw new ReplayError('the devices did not become idle')
  }
}
