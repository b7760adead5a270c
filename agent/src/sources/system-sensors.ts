/**
 * Reads /proc and /sys as Linux documents them (proc(5), Documentation/driver-api/thermal, Documentation/hwmon/sysfs-interface),
 * and what node:os knows elsewhere. Null stands for what the machine does not tell.
 */
import { readdir, readFile, statfs } from 'node:fs/promises'
import os from 'node:os'
import { join } from 'node:path'

export interface CpuTimes {
  readonly busy: number
  readonly total: number
}

/** Time that all processors spent since boot, in ticks of no fixed length. */
export async function cpuTimes(root: string): Promise<CpuTimes> {
  const line = (await text(join(root, 'proc/stat')))?.split('\n')[0] ?? ''
  const ticks = line.startsWith('cpu ') ? line.trim().split(/\s+/).slice(1, 9).map(Number) : []
  if (ticks.length >= 4) {
    const idle = ticks[3] + (ticks[4] ?? 0)
    const total = ticks.reduce((sum, value) => sum + value, 0)
    return { busy: total - idle, total }
  }
  let [busy, total] = [0, 0]
  for (const { times } of os.cpus()) {
    const used = times.user + times.nice + times.sys + times.irq
    busy += used
    total += used + times.idle
  }
  return { busy, total }
}

/** Percent of the time between two measurements that the processors were busy. */
export function cpuUsed(before: CpuTimes, now: CpuTimes): number | null {
  const total = now.total - before.total
  return total > 0 ? clampPercent((100 * (now.busy - before.busy)) / total) : null
}

/** Percent of memory and swap in use; without swap there is none to use. */
export async function memory(root: string): Promise<{ used: number | null; swapUsed: number | null }> {
  const meminfo = await text(join(root, 'proc/meminfo'))
  if (meminfo === null) return { used: clampPercent(100 * (1 - os.freemem() / os.totalmem())), swapUsed: null }
  const kilobytes = (name: string) => {
    const match = new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(meminfo)
    return match === null ? null : Number(match[1])
  }
  return {
    used: usedPercent(kilobytes('MemTotal'), kilobytes('MemAvailable')),
    swapUsed: usedPercent(kilobytes('SwapTotal'), kilobytes('SwapFree'))
  }
}

export async function loadAverage(root: string): Promise<number | null> {
  return numberOf((await text(join(root, 'proc/loadavg')))?.split(' ')[0]) ?? os.loadavg()[0]
}

export async function uptimeSeconds(root: string): Promise<number | null> {
  return Math.floor(numberOf((await text(join(root, 'proc/uptime')))?.split(' ')[0]) ?? os.uptime())
}

/** Percent of the file system in use, as df counts it: what only root may use is not free. */
export async function diskUsed(path: string): Promise<number | null> {
  try {
    const { blocks, bfree, bavail } = await statfs(path)
    const used = blocks - bfree
    return used + bavail > 0 ? clampPercent((100 * used) / (used + bavail)) : null
  } catch {
    return null
  }
}

const CPU_SENSOR = /cpu|x86_pkg|coretemp|k10temp|k8temp|zenpower|soc[-_]?thermal|pkg/i

/** The warmest sensor of the processor and the warmest of those that are not, in degC. */
export async function temperatures(root: string): Promise<{ cpu: number | null; board: number | null }> {
  const sensors = [...(await thermalZones(root)), ...(await hardwareMonitors(root))]
  const warmest = (ofCpu: boolean) => {
    const found = sensors.filter(sensor => CPU_SENSOR.test(sensor.name) === ofCpu).map(sensor => sensor.degC)
    return found.length === 0 ? null : Math.max(...found)
  }
  return { cpu: warmest(true), board: warmest(false) }
}

interface Sensor {
  readonly name: string
  readonly degC: number
}

async function thermalZones(root: string): Promise<Sensor[]> {
  const folder = join(root, 'sys/class/thermal')
  const sensors: Sensor[] = []
  for (const zone of await names(folder, /^thermal_zone\d+$/)) {
    const degC = await milliDegrees(join(folder, zone, 'temp'))
    if (degC !== null) sensors.push({ name: (await text(join(folder, zone, 'type')))?.trim() ?? '', degC })
  }
  return sensors
}

async function hardwareMonitors(root: string): Promise<Sensor[]> {
  const folder = join(root, 'sys/class/hwmon')
  const sensors: Sensor[] = []
  for (const chip of await names(folder, /^hwmon\d+$/)) {
    const name = (await text(join(folder, chip, 'name')))?.trim() ?? ''
    if (/nvme|drivetemp|iwlwifi|amdgpu|nouveau|battery|ucsi/i.test(name)) continue // neither processor nor board
    for (const input of await names(join(folder, chip), /^temp\d+_input$/)) {
      const degC = await milliDegrees(join(folder, chip, input))
      if (degC !== null) sensors.push({ name, degC })
    }
  }
  return sensors
}

async function milliDegrees(path: string): Promise<number | null> {
  const value = numberOf(await text(path))
  return value === null ? null : value / 1000
}

async function names(folder: string, pattern: RegExp): Promise<string[]> {
  try {
    return (await readdir(folder)).filter(name => pattern.test(name)).sort()
  } catch {
    return []
  }
}

async function text(path: string): Promise<string | null> {
  try {
    return await readFile(path, 'utf8')
  } catch {
    return null // a sensor that sleeps answers with an error, and a file may go at any time
  }
}

function numberOf(digits: string | null | undefined): number | null {
  const value = digits === null || digits === undefined || digits.trim() === '' ? Number.NaN : Number(digits)
  return Number.isFinite(value) ? value : null
}

function usedPercent(total: number | null, free: number | null): number | null {
  return total === null || free === null || total <= 0 ? null : clampPercent(100 * (1 - free / total))
}

function clampPercent(value: number): number {
  return Math.min(100, Math.max(0, value))
}
