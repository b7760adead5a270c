/**
 * The core as a front in a process of its own sees it: frames are packed into waves, which go to the core every few milliseconds,
 * with what else there is to say behind them; the core answers with the last wave that is durable.
 *
 * Bounded: a front holds its sockets while `isFull`. What the core does not read waits in the sockets' buffers and counts as well.
 */
import type { Socket } from 'node:net'
import type { AppendReceiver } from '../log/frame-log.js'
import type { FrameInPlace, FrameKind } from '../log/frames.js'
import { Wave } from '../log/wave.js'
import { type Connected, type DeviceMessage, type FrontCore, type FrontEnd, StaleDeathError } from './core.js'
import { Gathering } from './gathering.js'
import { encodeMessage, encodeWaveHead, MessageSplitter, type ToCore, type ToFront } from './link-messages.js'

/** How long frames wait for others in a front that is not busy, ms. */
const FLUSH_MS = 3

/** A wave that has grown to this many bytes goes out at once. */
const WAVE_BYTES_MAX = 256 * 1024

/** Bytes of frames that may be unsettled before the front must hold its sockets. */
const UNSETTLED_BYTES_MAX = 16 * 1024 * 1024

/** Bytes of log lines that may wait for the core; further lines are dropped, and their number is told. */
const LINES_BYTES_MAX = 256 * 1024

/** The core could not append a wave: the devices keep what was in it. */
class CoreRefusalError extends Error {
  readonly code = 'CORE_REFUSAL'
}

type Page = Extract<ToFront, { type: 'page' }>

export class CoreLink implements FrontCore {
  /** The front that this is the core of; set before it takes connections. */
  front: FrontEnd | null = null
  /** The core wants the front to close. */
  onClose: () => void = () => {}
  private wave = new Wave()
  private readonly spares: Wave[] = []
  /** Waves under way, oldest first; the first has the number `settledThrough` + 1. */
  private unsettled: Wave[] = []
  private settledThrough = 0
  private sentWaves = 0
  private unsettledBytes = 0
  private outbox: Buffer[] = []
  private timer: NodeJS.Timeout | null = null
  private turn: NodeJS.Immediate | null = null
  private readonly gathering = new Gathering()
  private requests = 0
  private readonly pages = new Map<number, (page: Page) => void>()
  private droppedLines = 0

  constructor(private readonly socket: Socket) {
    const splitter = new MessageSplitter<ToFront>({ message: message => this.receive(message), wave: () => {} })
    socket.on('data', chunk => splitter.feed(chunk))
  }

  get isFull(): boolean {
    return this.unsettledBytes + this.wave.used >= UNSETTLED_BYTES_MAX
  }

  appendFor(kind: FrameKind, deviceId: string, payload: Uint8Array, receiver: AppendReceiver, token: number): void {
    this.wave.add(kind, deviceId, payload, receiver, token)
    this.schedule()
  }

  appendFrom(frame: FrameInPlace, receiver: AppendReceiver, token: number): void {
    this.wave.addFrom(frame, receiver, token)
    this.schedule()
  }

  connected(client: Connected): void {
    this.say({ type: 'connected', ...client })
  }

  disconnected(deviceId: string, number: number): void {
    this.say({ type: 'disconnected', deviceId, number })
  }

  watchStatuses(): void {
    this.say({ type: 'watch-statuses' })
  }

  watchDevices(): void {
    this.say({ type: 'watch-devices' })
  }

  async *kept(filter: string): AsyncGenerator<DeviceMessage> {
    const request = ++this.requests
    let isLast = false
    try {
      while (!isLast) {
        const page = await new Promise<Page>(resolve => {
          this.pages.set(request, resolve)
          this.say({ type: 'kept', request, filter })
        })
        isLast = page.isLast
        for (const [deviceId, payload] of page.kept) yield { deviceId, payload }
      }
    } finally {
      this.pages.delete(request)
      if (!isLast) this.say({ type: 'kept-end', request }) // whoever asked has gone
    }
  }

  requestConfig(deviceId: string): void {
    this.say({ type: 'config', deviceId })
  }

  /** A line of the front's log, for the core to write. */
  log(line: string): void {
    if (this.socket.writableLength > LINES_BYTES_MAX) {
      this.droppedLines++
      return
    }
    this.say({ type: 'log', line })
  }

  takeDroppedLines(): number {
    const dropped = this.droppedLines
    this.droppedLines = 0
    return dropped
  }

  /** Says something, behind all that was appended so far. */
  say(message: ToCore): void {
    this.outbox.push(encodeMessage(message))
    this.schedule()
  }

  /** Resolves when all that was said has been handed to the system. */
  flushed(): Promise<void> {
    this.flush()
    return new Promise(resolve => this.socket.write('', () => resolve()))
  }

  private schedule(): void {
    if (this.wave.used >= WAVE_BYTES_MAX) this.flush()
    else if (this.gathering.isBusy) this.turn ??= setImmediate(() => this.endTurn())
    else this.timer ??= setTimeout(() => this.flush(), FLUSH_MS)
  }

  private endTurn(): void {
    this.turn = null
    this.flush()
    this.gathering.endTurn()
  }

  /** The wave goes first, so that a will is there before the end of its connection is told. */
  private flush(): void {
    if (this.timer !== null) clearTimeout(this.timer)
    this.timer = null
    this.socket.cork()
    if (this.wave.used > 0) this.sendWave()
    for (const bytes of this.outbox) this.socket.write(bytes)
    this.socket.uncork()
    this.outbox = []
  }

  private sendWave(): void {
    const { wave } = this
    this.gathering.note(wave.count)
    this.socket.write(encodeWaveHead(++this.sentWaves, wave.hasStatus, wave.used))
    this.socket.write(wave.frames)
    this.unsettled.push(wave)
    this.unsettledBytes += wave.used
    this.wave = this.spares.pop() ?? new Wave()
  }

  private receive(message: ToFront): void {
    switch (message.type) {
      case 'settled':
        this.settle(message)
        return
      case 'take-over':
        this.front?.takeOver(message.deviceId, message.number)
        return
      case 'deliver':
        this.front?.deliver(message.deviceId, message.kind, message.payload, message.isRetained)
        return
      case 'relay':
        this.front?.relay(message.deviceId, message.kind, message.payload)
        return
      case 'status':
        this.front?.showStatus(message)
        return
      case 'page':
        this.pages.get(message.request)?.(message)
        return
      case 'close':
        this.onClose()
        return
      default:
        message satisfies never
    }
  }

  private settle({ through, error, refused }: Extract<ToFront, { type: 'settled' }>): void {
    for (const [wave, index] of refused) this.unsettled[wave - this.settledThrough - 1].refuse(index, new StaleDeathError())
    const settled = this.unsettled.splice(0, through - this.settledThrough)
    this.settledThrough = through
    const failure = error === null ? null : new CoreRefusalError(error)
    for (const wave of settled) {
      this.unsettledBytes -= wave.used
      wave.settle(failure, 0)
      if (this.spares.length < 4) this.spares.push(wave)
    }
  }
}
