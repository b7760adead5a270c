/**
 * A light client that sends readings as line protocol over HTTP, in a process of its own, in an open loop: every 50 ms the readings that
 * have fallen due, in one request; each counts from its own time. A request that fails is sent again.
 */

import { setTimeout as delay } from 'node:timers/promises'
import { ROTATING_MACHINE } from '@tidemark/protocol'
import { deviceOf, Latency, NO_FAULTS, newReadingColumns, type RunPlan, writeReading } from '@tidemark/simulator'
import { Pool } from 'undici'
import type { Taken } from './peer.js'

export interface LineLoad {
  readonly url: string
  readonly devices: number
  readonly readingsPerS: number
  readonly forMs: number
  readonly seed: number
}

export type LineReport = Taken

const TICK_MS = 50
const REQUESTS_MAX = 16
const RETRY_MS = 200
const NUMERIC = ROTATING_MACHINE.metrics.slice(0, 9).map(({ name, type }) => ({ name, type }))

interface Body {
  readonly text: string
  /** When each of its readings was due, by performance.now(). */
  readonly dueMs: readonly number[]
}

async function play({ url, devices, readingsPerS, forMs, seed }: LineLoad): Promise<LineReport> {
  const { origin, pathname, search } = new URL(url)
  const pool = new Pool(origin, { connections: REQUESTS_MAX })
  const intervalMs = Math.max(1, Math.round((devices * 1000) / readingsPerS))
  const plan: RunPlan = { seed, firstDevice: 0, devices, startMs: Date.now(), intervalMs, rates: NO_FAULTS }
  const all = Array.from({ length: devices }, (_, i) => deviceOf(plan, i))
  const row = newReadingColumns(1)
  const latency = new Latency()
  const waiting: Body[] = []
  const beganMs = performance.now()
  let [sent, acked, busy] = [0, 0, 0]

  const dueOf = (k: number) => Math.floor(((k % devices) * intervalMs) / devices) + Math.floor(k / devices) * intervalMs
  const lineOf = (k: number): string => {
    const device = all[k % devices]
    writeReading(plan, device, 1 + Math.floor(k / devices), row, 0)
    const fields = NUMERIC.flatMap(({ name, type }, m) => {
      const value = row.metrics[m][0]
      if (Number.isNaN(value)) return []
      return [`${name}=${type === 'bool' ? value === 1 : type === 'int' ? `${value}i` : value}`]
    })
    return `reading,device=${device.id},location=${device.machine.location} ${fields.join(',')} ${row.eventTimesMs[0]}`
  }
  const post = async (body: Body): Promise<void> => {
    busy++
    for (;;) {
      try {
        const answer = await pool.request({ method: 'POST', path: `${pathname}${search}`, body: body.text })
        await answer.body.dump()
        if (answer.statusCode === 204) break
      } catch {
        // It is being started again.
      }
      await delay(RETRY_MS)
    }
    const nowMs = performance.now()
    for (const dueMs of body.dueMs) latency.record(nowMs - dueMs)
    acked += body.dueMs.length
    busy--
  }
  for (let isOver = false; !isOver || waiting.length > 0 || busy > 0; await delay(isOver ? 5 : TICK_MS)) {
    const elapsedMs = performance.now() - beganMs
    const lines: string[] = []
    const dueMs: number[] = []
    for (let due = dueOf(sent); due <= elapsedMs && due < forMs; due = dueOf(sent)) {
      lines.push(lineOf(sent++))
      dueMs.push(beganMs + due)
    }
    if (lines.length > 0) waiting.push({ text: lines.join('\n'), dueMs })
    while (waiting.length > 0 && busy < REQUESTS_MAX) void post(waiting.shift() as Body)
    isOver = elapsedMs >= forMs
  }
  await pool.close()
  return { sent, acked, pubackMs: latency.quantiles() }
}

process.once('message', (load: LineLoad) => {
  play(load).then(report => process.send?.(report))
})
process.on('disconnect', () => process.exit())
process.on('SIGINT', () => {})
