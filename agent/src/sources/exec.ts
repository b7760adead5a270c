/**
 * Runs a command and takes what it prints: JSON, or one bare value. No shell is involved. The command has a process group of its
 * own, which is killed when it takes too long or prints too much, with whatever it has started.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import type { Profile } from '@tidemark/protocol'
import { ANSWER_BYTES_MAX } from '../limits.js'
import { type JsonMapping, putValues } from './json-values.js'
import { Measurement, mappedMetrics } from './mapping.js'
import type { LiveSource } from './source.js'

export interface ExecConfig {
  /** Program and arguments. */
  readonly command: readonly string[]
  readonly metrics: Readonly<Record<string, JsonMapping>>
}

/** Kills what runs when the agent ends without having closed its sources. */
const running = new Set<AbortController>()
process.once('exit', () => {
  for (const controller of running) controller.abort()
})

/** How much of what a failing command says is kept, in characters. */
const COMPLAINT_LENGTH = 200

export function openExec(config: ExecConfig, profile: Profile): LiveSource {
  const metrics = mappedMetrics('exec', profile, Object.keys(config.metrics))
  let current: AbortController | null = null
  const kill = () => current?.abort()
  return {
    key: `exec:${config.command[0]}`,
    metrics: [...metrics.keys()],
    async measure(signal) {
      const measurement = new Measurement(metrics)
      const limit = new AbortController()
      current = limit
      running.add(limit)
      signal.addEventListener('abort', kill, { once: true })
      try {
        putValues(measurement, await outputOf(config.command, limit.signal), config.metrics)
      } finally {
        running.delete(limit)
      }
      return measurement.done()
    },
    close: async () => kill()
  }
}

/** What a command prints. Rejects where it fails, prints too much, or the signal aborts; then its process group is killed. */
export function outputOf([program, ...args]: readonly string[], signal: AbortSignal): Promise<string> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(new Error('given up'))
    const child = spawn(program, args, { detached: true, shell: false, stdio: ['ignore', 'pipe', 'pipe'] })
    const [output, complaint]: [Buffer[], Buffer[]] = [[], []]
    let bytes = 0
    const fail = (problem: string) => {
      signal.removeEventListener('abort', onAbort)
      reject(new Error(`${program}: ${problem}`))
    }
    const onAbort = () => {
      killGroup(child)
      fail('it did not end in time, and was killed')
    }
    signal.addEventListener('abort', onAbort, { once: true })
    child.stdout.on('data', (chunk: Buffer) => {
      bytes += chunk.length
      output.push(chunk)
      if (bytes <= ANSWER_BYTES_MAX) return
      output.length = 0
      killGroup(child)
      fail(`it printed more than ${ANSWER_BYTES_MAX} bytes, and was killed`)
    })
    child.stderr.on('data', (chunk: Buffer) => {
      if (complaint.length < 2) complaint.push(chunk.subarray(0, COMPLAINT_LENGTH))
    })
    child.on('error', error => fail('code' in error && error.code === 'ENOENT' ? 'there is no such program' : error.message))
    child.on('close', (code, killedBy) => {
      if (code !== 0) return fail(`${exitOf(code, killedBy)}${excerpt(Buffer.concat(complaint))}`)
      signal.removeEventListener('abort', onAbort)
      resolve(Buffer.concat(output).toString('utf8'))
    })
  })
}

function exitOf(code: number | null, killedBy: string | null): string {
  return code === null ? `it was killed by ${killedBy}` : `it ended with exit code ${code}`
}

function excerpt(complaint: Buffer): string {
  const [line] = complaint.toString('utf8').trim().split('\n')
  return line === '' ? '' : ` (${line.slice(0, COMPLAINT_LENGTH)})`
}

/** The child leads its group (`detached`). Where it has ended itself, what it started still holds its output open. */
function killGroup(child: ChildProcess): void {
  child.stdout?.destroy()
  child.stderr?.destroy()
  if (child.pid === undefined) return
  try {
    process.kill(-child.pid, 'SIGKILL')
  } catch {
    // nobody is left in it
  }
}
