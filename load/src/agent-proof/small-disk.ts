/**
 * A small disk of its own, which can be filled to the last byte: ext4 in a file, or memory (tmpfs) where that cannot be had.
 * Whoever makes one gives it back: `unmount`.
 */
import { spawnSync } from 'node:child_process'
import { closeSync, mkdirSync, openSync, rmSync, statfsSync, truncateSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { UsageError } from '../replay/replay-error.js'

const DISK_BYTES = 48 * 2 ** 20
const FILLER = 'somebody-elses'

export class SmallDisk {
  private constructor(
    readonly path: string,
    readonly kind: 'ext4' | 'tmpfs'
  ) {}

  /** Mounts one within `folder`. Throws a `UsageError` where that is not allowed. */
  static mount(folder: string): SmallDisk {
    const path = join(folder, 'disk')
    mkdirSync(path)
    const image = join(folder, 'disk.img')
    closeSync(openSync(image, 'w'))
    truncateSync(image, DISK_BYTES)
    if (succeeds('mkfs.ext4', '-q', '-F', image) && succeeds('mount', '-o', 'loop', image, path)) return new SmallDisk(path, 'ext4')
    rmSync(image)
    if (succeeds('mount', '-t', 'tmpfs', '-o', `size=${DISK_BYTES}`, 'tmpfs', path)) return new SmallDisk(path, 'tmpfs')
    throw new UsageError('a disk that can be filled must be mounted, which needs root: run it with sudo')
  }

  /** Writes until not a byte is left. */
  fill(): void {
    const file = openSync(join(this.path, FILLER), 'a')
    try {
      for (const bytes of [2 ** 20, 4096, 1]) writeWhileItFits(file, Buffer.alloc(bytes))
    } finally {
      closeSync(file)
    }
  }

  /** Makes room again. */
  free(): void {
    rmSync(join(this.path, FILLER), { force: true })
  }

  get freeBytes(): number {
    const { bfree, bsize } = statfsSync(this.path)
    return bfree * bsize
  }

  unmount(): void {
    spawnSync('umount', ['-l', this.path])
  }
}

function writeWhileItFits(file: number, bytes: Buffer): void {
  for (;;) {
    try {
      if (writeSync(file, bytes) < bytes.length) return
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOSPC') return
      throw error
    }
  }
}

function succeeds(program: string, ...args: string[]): boolean {
  return spawnSync(program, args, { stdio: 'ignore' }).status === 0
}
