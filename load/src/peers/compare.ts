/**
 * Measures a peer: its knee, by steps of a rising rate until the p99 of its acks passes a second, or what stands behind it is not done
 * within two seconds of the step's end, or something was lost; then, in a fresh folder, what a SIGKILL under load costs.
 */
import { setTimeout as delay } from 'node:timers/promises'
import { thisMachine } from '../run/machine.js'
import { resultOf } from '../run/outcome.js'
import { type PlayEvents, play } from '../run/play.js'
import { ProcessMeter } from '../run/proc.js'
import { readScenario, type Scenario } from '../run/scenario.js'
import type { Peer } from './peer.js'

/** A row of the table. */
export interface PeerResult {
  readonly name: string
  readonly durability: string
  /** The highest rate that it held, acked readings a second; 0: not even the first. */
  readonly knee_per_s: number
  readonly puback_ms_at_knee: { readonly p50: number; readonly p99: number }
  /** At the knee. */
  readonly cpu_s_per_million: number
  readonly rss_mb: number
  readonly bytes_per_reading: number
  /** After a SIGKILL at `kill_rate_per_s`, of the readings that it had acked. */
  readonly kill_rate_per_s: number
  readonly acked_after_kill: number
  readonly lost: number
  readonly doubled: number
}

export interface Ladder {
  readonly devices: number
  readonly fromPerS: number
  readonly factor: number
  readonly stepMs: number
  readonly steps: number
}

const P99_MS_MAX = 1000
const BEHIND_MS_MAX = 2000
const SETTLE_POLL_MS = 250
const SETTLE_MS_MAX = 30_000
const LOOK_MS = 500
const KILL_PER_S = 5000
const KILL_FOR_MS = 15_000
const KILL_AT_MS = 6000

interface Held {
  readonly perS: number
  readonly p50: number
  readonly p99: number
  readonly cpuSPerMillion: number
}

/** `peerIn` makes the peer with its data in a folder that it is given. */
export async function measurePeer(
  peerIn: (dir: string) => Promise<Peer>,
  dir: string,
  ladder: Ladder,
  say: (line: string) => void
): Promise<PeerResult> {
  const { peer, held, rssBytes, bytesPerReading } = await findKnee(await peerIn(`${dir}/knee`), ladder, say)
  const killed = await measureKill(await peerIn(`${dir}/kill`), ladder.devices, say)
  return {
    name: peer.name,
    durability: peer.durability,
    knee_per_s: held?.perS ?? 0,
    puback_ms_at_knee: { p50: held?.p50 ?? 0, p99: held?.p99 ?? 0 },
    cpu_s_per_million: Math.round((held?.cpuSPerMillion ?? 0) * 10) / 10,
    rss_mb: Math.round(rssBytes / 1024 ** 2),
    bytes_per_reading: Math.round(bytesPerReading),
    ...killed
  }
}

async function findKnee(peer: Peer, ladder: Ladder, say: (line: string) => void) {
  const meter = new ProcessMeter(commandLine => (peer.isMine(commandLine) ? 'peer' : null))
  let rssBytes = 0
  const look = () => {
    meter.look()
    rssBytes = Math.max(rssBytes, meter.usage('peer').rssBytes)
  }
  const looking = setInterval(look, LOOK_MS)
  let held: Held | null = null
  let [sent, stored] = [0, 0]
  try {
    await peer.start()
    for (let [step, tries] = [0, 0]; step < ladder.steps && tries < 2; ) {
      const readingsPerS = Math.round(ladder.fromPerS * ladder.factor ** step)
      look()
      const before = meter.usage('peer').cpuS
      const taken = await peer.send({ devices: ladder.devices, readingsPerS, forMs: ladder.stepMs, seed: 2 * step + tries + 1 })
      const behindMs = await settle(peer)
      look()
      sent += taken.acked
      const { readings } = await peer.kept()
      const isWhole = readings >= sent && taken.acked === taken.sent
      const isHeld = taken.pubackMs.p99 < P99_MS_MAX && behindMs < BEHIND_MS_MAX && isWhole
      const perS = Math.round((1000 * taken.acked) / ladder.stepMs)
      const why = isHeld ? '' : isWhole ? `: behind by ${behindMs} ms` : `: ${sent - readings} of ${sent} not there`
      say(`  ${perS}/s: p50 ${taken.pubackMs.p50} ms, p99 ${taken.pubackMs.p99} ms${isHeld ? '' : `, not held${why}`}`)
      if (!isHeld) {
        tries++ // a second one: something else may have been going on
        continue
      }
      const cpuSPerMillion = ((meter.usage('peer').cpuS - before) * 1e6) / taken.acked
      held = { perS, p50: taken.pubackMs.p50, p99: taken.pubackMs.p99, cpuSPerMillion }
      stored = peer.storedBytes() / readings
      step++
      tries = 0
    }
  } finally {
    clearInterval(looking)
    await peer.stop()
  }
  return { peer, held, rssBytes, bytesPerReading: stored }
}

async function measureKill(peer: Peer, devices: number, say: (line: string) => void) {
  await peer.start()
  try {
    let restarted: Promise<void> = Promise.resolve()
    const call = () => {
      restarted = peer.killAndRestart()
      restarted.catch(() => {}) // awaited below
    }
    const taken = await peer.send({ devices, readingsPerS: KILL_PER_S, forMs: KILL_FOR_MS, seed: 99, during: { atMs: KILL_AT_MS, call } })
    await restarted
    await settle(peer)
    const { rows, readings } = await peer.kept()
    const [lost, doubled] = [Math.max(0, taken.acked - readings), rows - readings]
    say(`  killed at ${KILL_PER_S}/s: ${taken.acked} acked, ${lost} lost, ${doubled} doubled`)
    return { kill_rate_per_s: KILL_PER_S, acked_after_kill: taken.acked, lost, doubled }
  } finally {
    await peer.stop()
  }
}

/** Waits until nothing is stored any more; how long that took, ms. */
async function settle(peer: Peer): Promise<number> {
  const beganMs = performance.now()
  let grewMs = beganMs
  let before = peer.storedBytes()
  while (performance.now() - grewMs < 1500 && performance.now() - beganMs < SETTLE_MS_MAX) {
    await delay(SETTLE_POLL_MS)
    const now = peer.storedBytes()
    if (now > before) grewMs = performance.now()
    before = now
  }
  return Math.round(grewMs - beganMs)
}

/** Tidemark by the same steps, through the load runner. */
export async function measureTidemark(dir: string, ladder: Ladder, say: (line: string) => void, signal: AbortSignal): Promise<PeerResult> {
  const events: PlayEvents = { onStage: () => {}, onPoint: () => {}, onVerified: () => {} }
  const base = readScenario('ramp')
  const ramp = { from: ladder.fromPerS, factor: ladder.factor, step: ladder.stepMs, steps: ladder.steps, until_p99: P99_MS_MAX }
  const knee: Scenario = { ...base, fleet: { ...base.fleet, devices: ladder.devices }, ramp }
  const climbed = resultOf(await play(knee, `${dir}/knee`, events, signal), thisMachine())
  const best = climbed.steps.filter(({ held }) => held).at(-1)
  for (const { offered_per_s, puback_ms, held } of climbed.steps)
    say(`  ${offered_per_s}/s: p50 ${puback_ms.p50} ms, p99 ${puback_ms.p99} ms${held ? '' : ', not held'}`)
  const { ramp: _, ...steady } = base
  const interval = Math.round((ladder.devices * 1000) / KILL_PER_S)
  const fleet = { ...base.fleet, devices: ladder.devices, interval, for: KILL_FOR_MS }
  const killed = resultOf(await play({ ...steady, fleet, kill: [KILL_AT_MS] }, `${dir}/kill`, events, signal), thisMachine())
  say(`  killed at ${KILL_PER_S}/s: ${killed.readings_acked} acked, ${killed.missing} lost, ${killed.doubled} doubled`)
  const { processed, curated, raw } = climbed.disk_bytes
  return {
    name: 'Tidemark',
    durability: 'every PUBACK after an fsync of the log; validated, deduplicated by event ID, quarantine, features, typed Parquet',
    knee_per_s: best?.acked_per_s ?? 0,
    puback_ms_at_knee: { p50: best?.puback_ms.p50 ?? 0, p99: best?.puback_ms.p99 ?? 0 },
    cpu_s_per_million: Math.round((best?.cpu_s_per_million ?? 0) * 10) / 10,
    rss_mb: climbed.rss_mb,
    bytes_per_reading: Math.round((processed + curated + raw) / Math.max(1, climbed.readings_acked)),
    kill_rate_per_s: KILL_PER_S,
    acked_after_kill: killed.readings_acked,
    lost: killed.missing,
    doubled: killed.doubled
  }
}
