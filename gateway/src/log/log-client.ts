/**
 * The log as the event loop sees it: frames are packed into waves, a wave becomes one entry, its callbacks are called when it is
 * durable. At most one wave is with the worker; the next is packed meanwhile. What waits is bounded by who asks `isFull`.
 */
import { performance } from 'node:perf_hooks'
import { Worker } from 'node:worker_threads'
import { youngGenerationOf } from '../heaps.js'
import type { Appended, AppendReceiver, FrameLog, PackedLog } from './frame-log.js'
import { type Frame, type FrameInPlace, type FrameKind, frameBytes, writeFrame } from './frames.js'
import type { FromLogWorker, ToLogWorker } from './messages.js'
import { Wave } from './wave.js'

/** Least time between two group commits, ms. */
const GROUP_COMMIT_MS = 10

/** A wave that has grown to this many bytes goes out as soon as the worker is free. */
const WAVE_BYTES_MAX = 4 * 1024 * 1024

/** Bytes that may wait for the log before fronts must hold their sockets. */
const PENDING_BYTES_MAX = 64 * 1024 * 1024

export class LogWriteError extends Error {
  readonly code = 'LOG_WRITE'
  constructor(path: string, reason: string) {
    super(`cannot append to ${path}: ${reason}. Free disk space or check who owns it; devices keep what is not acked and send it again`)
  }
}

export class LogClient implements FrameLog, PackedLog {
  /** The last durable entry, and the bytes of frames appended since the start. */
  lastEntry = 0
  appendedBytes = 0
  /** The worker's, as `threadId` has it. */
  thread: number | null = null
  appendedWaves = 0
  refusedWaves = 0
  lastWaveRefused = false
  /** Called when an entry (a wave or a tick) is durable. */
  onEntry: (entry: number) => void = () => {}
  /** Called when the disk has refused a wave: its devices keep what was in it. */
  onRefused: (error: LogWriteError) => void = () => {}
  /** While true no wave goes out: what reads the log is too far behind. */
  private held = false
  private wave = new Wave()
  private inFlight: Wave | null = null
  /** Settled, to be filled again. */
  private spare: Wave | null = null
  private waves = 0
  private lastSentMs = 0
  private timer: NodeJS.Timeout | null = null
  private onIdle: (() => void) | null = null
  private onClosed: (() => void) | null = null

  private constructor(
    private readonly path: string,
    private readonly worker: Worker
  ) {}

  /** Opens the log, making the file where there is none. Rejects with a `LogWriteError` where it cannot. */
  static open(path: string): Promise<LogClient> {
    const worker = new Worker(new URL('./log-worker.js', import.meta.url), {
      workerData: { path },
      resourceLimits: youngGenerationOf()
    })
    const client = new LogClient(path, worker)
    return new Promise((resolve, reject) => {
      worker.once('error', reject)
      worker.on('message', (message: FromLogWorker) => {
        if (message.type === 'open') {
          client.lastEntry = message.lastEntry
          client.thread = message.thread
          worker.off('error', reject)
          resolve(client)
        } else if (message.type === 'failed-to-open') {
          reject(new LogWriteError(path, message.message))
          worker.terminate()
        } else client.receive(message)
      })
    })
  }

  /** What to do when the worker dies: without it nothing can be acked. */
  onFailure(listener: (error: Error) => void): void {
    this.worker.on('error', listener)
  }

  append(kind: FrameKind, deviceId: string, payload: Uint8Array, done: Appended): void {
    this.appendFor(kind, deviceId, payload, { settled: done }, 0)
  }

  appendFor(kind: FrameKind, deviceId: string, payload: Uint8Array, receiver: AppendReceiver, token: number): void {
    this.wave.add(kind, deviceId, payload, receiver, token)
    this.schedule()
  }

  appendFrom(frame: FrameInPlace, receiver: AppendReceiver, token: number): void {
    this.wave.addFrom(frame, receiver, token)
    this.schedule()
  }

  appendPacked(frames: Uint8Array, receiver: AppendReceiver, token: number): void {
    this.wave.addPacked(frames, receiver, token)
    this.schedule()
  }

  /** Appends frames that lie in one entry, in their order: all of them are durable, or none is. */
  appendTogether(frames: readonly Frame[], done: Appended): void {
    const bytes = frames.reduce((sum, { deviceId, payload }) => sum + frameBytes(deviceId, payload.length), 0)
    const packed = Buffer.allocUnsafe(bytes)
    let end = 0
    for (const { kind, deviceId, payload } of frames) end = writeFrame(packed, end, kind, deviceId, payload)
    this.appendPacked(packed, { settled: done }, 0)
  }

  /** Whether more waits than should: hold back whoever appends. */
  get isFull(): boolean {
    return this.wave.used + (this.inFlight?.used ?? 0) >= PENDING_BYTES_MAX
  }

  hold(): void {
    this.held = true
  }

  release(): void {
    this.held = false
    this.schedule()
  }

  truncate(throughEntry: number): void {
    this.post({ type: 'truncate', throughEntry })
  }

  /** Resolves when everything appended is durable or refused, and the file is closed. */
  async close(): Promise<void> {
    this.release()
    if (this.inFlight !== null || this.wave.used > 0) await new Promise<void>(resolve => (this.onIdle = resolve))
    await new Promise<void>(resolve => {
      this.onClosed = resolve
      this.post({ type: 'close' })
    })
  }

  private schedule(): void {
    if (this.inFlight !== null || this.wave.used === 0 || this.held) return
    const dueMs = this.wave.used >= WAVE_BYTES_MAX ? 0 : this.lastSentMs + GROUP_COMMIT_MS - performance.now()
    if (dueMs <= 0) this.send()
    else this.timer ??= setTimeout(() => this.send(), dueMs)
  }

  private send(): void {
    if (this.timer !== null) clearTimeout(this.timer)
    this.timer = null
    if (this.inFlight !== null || this.wave.used === 0 || this.held) return
    const frames = new Uint8Array(this.wave.frames)
    this.inFlight = this.wave
    this.wave = this.spare ?? new Wave()
    this.spare = null
    this.lastSentMs = performance.now()
    this.post({ type: 'append', wave: ++this.waves, frames }, [frames.buffer])
  }

  private receive(message: Exclude<FromLogWorker, { type: 'open' | 'failed-to-open' }>): void {
    switch (message.type) {
      case 'appended':
        this.lastEntry = message.entry
        this.appendedBytes += message.bytes
        this.appendedWaves++
        this.lastWaveRefused = false
        this.finish(null, message.entry)
        this.onEntry(message.entry)
        return
      case 'refused': {
        const error = new LogWriteError(this.path, message.message)
        this.refusedWaves++
        this.lastWaveRefused = true
        this.onRefused(error)
        this.finish(error, 0)
        return
      }
      case 'ticked':
        this.lastEntry = message.entry
        this.onEntry(message.entry)
        return
      case 'closed':
        this.onClosed?.()
        return
      default:
        message satisfies never
    }
  }

  private finish(error: Error | null, entry: number): void {
    const settled = this.inFlight!
    this.inFlight = null
    this.schedule()
    settled.settle(error, entry)
    this.spare = settled
    if (this.inFlight === null && this.wave.used === 0) this.onIdle?.()
  }

  private post(message: ToLogWorker, transfer: ArrayBuffer[] = []): void {
    this.worker.postMessage(message, transfer)
  }
}
