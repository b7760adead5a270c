/**
 * A few bytes beside the buffer that say how far it had come: the epoch, and the last position that was given away. When the buffer's
 * file, or its write-ahead log, is damaged or deleted, they tell which event IDs must not be given again, and how many are lost.
 *
 * It is written after each commit and not fsynced: it may lag behind the buffer (after a power cut), and is never ahead of it.
 */
import { closeSync, fsyncSync, openSync, readFileSync, writeSync } from 'node:fs'
import { crc32 } from 'node:zlib'
import type { BufferState } from './buffer-schema.js'
import type { EpochRange } from './core/epochs.js'
import type { ProgressMark } from './core/recovery.js'

const FIELD_BYTES = 17

export class BufferMark {
  private readonly fd: number | null
  private current: { epoch: number; base: number }
  private lastPosition = 0

  constructor(
    path: string,
    private readonly deviceId: string
  ) {
    const marked = readMark(path, deviceId)
    this.current = { epoch: marked?.epoch ?? 0, base: marked?.base ?? 0 }
    this.fd = tryOpen(markPath(path))
  }

  /** Never throws: a buffer without its mark is as good, until it is damaged. */
  write({ nextPosition, reservedPosition }: BufferState, epochs: readonly EpochRange[] | null): void {
    const newest = epochs?.at(-1)
    if (newest !== undefined) this.current = { epoch: newest.epoch, base: newest.base }
    const lastPosition = Math.max(nextPosition - 1, reservedPosition)
    if (this.fd === null || (newest === undefined && lastPosition === this.lastPosition)) return
    this.lastPosition = lastPosition
    try {
      writeSync(this.fd, encode({ ...this.current, lastPosition }, this.deviceId), 0)
    } catch {
      // the disk is full or read-only: the commit before it says so
    }
  }

  /** Takes back what was reserved and not given, before the buffer does: durable when it returns, so that it is never ahead. */
  lower(lastPosition: number): void {
    if (this.fd === null || lastPosition >= this.lastPosition) return
    this.lastPosition = lastPosition
    try {
      writeSync(this.fd, encode({ ...this.current, lastPosition }, this.deviceId), 0)
      fsyncSync(this.fd)
    } catch {
      // as above
    }
  }

  close(): void {
    if (this.fd !== null) closeSync(this.fd)
  }
}

export function markPath(path: string): string {
  return `${path}.mark`
}

/** null where there is none, it is torn, or it is of another device. */
export function readMark(path: string, deviceId: string): ProgressMark | null {
  let text: string
  try {
    text = readFileSync(markPath(path), 'latin1')
  } catch {
    return null
  }
  const [epoch, base, lastPosition, check] = text.trimEnd().split(/ +/).map(Number)
  if (![epoch, base, lastPosition, check].every(Number.isSafeInteger)) return null
  return check === checkOf({ epoch, base, lastPosition }, deviceId) && epoch > 0 ? { epoch, base, lastPosition } : null
}

/** Of one length always, so that it is overwritten in place. */
function encode(mark: ProgressMark, deviceId: string): string {
  return `${[mark.epoch, mark.base, mark.lastPosition, checkOf(mark, deviceId)].map(field => String(field).padEnd(FIELD_BYTES)).join('')}\n`
}

function checkOf({ epoch, base, lastPosition }: ProgressMark, deviceId: string): number {
  return crc32(`${deviceId} ${epoch} ${base} ${lastPosition}`)
}

function tryOpen(path: string): number | null {
  for (const flags of ['r+', 'w+']) {
    try {
      return openSync(path, flags)
    } catch {
      // not there yet, or the disk is read-only
    }
  }
  return null
}
