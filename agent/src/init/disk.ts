/** Finds out what kind of disk a folder is on, from what the kernel says of block devices (Documentation/ABI/stable/sysfs-block). */
import { readdir, readFile, realpath, stat } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'

export interface Disk {
  /** As the kernel calls it: `mmcblk0`, `sda`; null where it does not say, as for a network share or memory. */
  readonly name: string | null
  /** An SD card or eMMC: flash that small writes wear out. */
  readonly isCard: boolean
}

const UNKNOWN: Disk = { name: null, isCard: false }

/**
 * The disk below a folder, which need not exist yet. Goes from the file system to its device, from a partition to its disk, and
 * through what lies between (encryption, LVM).
 * @param root the folder that holds sys/ and proc/; `/` on a real machine
 */
export async function diskOf(folder: string, root: string): Promise<Disk> {
  const there = await nearestThere(resolve(folder))
  const device = await blockDevice(there, root)
  const disks = device === null ? [] : await disksBelow(device)
  return disks.find(({ isCard }) => isCard) ?? disks[0] ?? UNKNOWN
}

async function nearestThere(folder: string): Promise<string> {
  for (let at = folder; ; at = dirname(at)) {
    const real = await realpath(at).catch(() => null)
    if (real !== null) return real
    if (at === dirname(at)) return at
  }
}

/** The device's folder in sysfs. */
async function blockDevice(path: string, root: string): Promise<string | null> {
  const { dev } = await stat(path, { bigint: true })
  // as the C library packs them (makedev(3))
  const major = ((dev >> 8n) & 0xfffn) | ((dev >> 32n) & ~0xfffn)
  const minor = (dev & 0xffn) | ((dev >> 12n) & ~0xffn)
  const byNumber = await realpath(join(root, `sys/dev/block/${major}:${minor}`)).catch(() => null)
  if (byNumber !== null) return byNumber
  // btrfs and the like have a number of their own; what was mounted says more
  const source = await mountSource(path, root)
  if (!source.startsWith('/dev/')) return null
  const node = basename(await realpath(source).catch(() => source))
  return realpath(join(root, 'sys/class/block', node)).catch(() => null)
}

/** What is mounted where a path is: the last field but one of proc_pid_mountinfo(5). */
async function mountSource(path: string, root: string): Promise<string> {
  const lines = (await readFile(join(root, 'proc/self/mountinfo'), 'utf8').catch(() => '')).split('\n')
  let [longest, source] = ['', '']
  for (const line of lines) {
    const [left, right = ''] = line.split(' - ')
    const point = unescapeOctal(left.split(' ')[4] ?? '')
    const isAbove = point !== '' && (path === point || path.startsWith(point === '/' ? point : `${point}/`))
    if (isAbove && point.length >= longest.length) [longest, source] = [point, unescapeOctal(right.split(' ')[1] ?? '')]
  }
  return source
}

function unescapeOctal(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)))
}

/** The whole disks that a device is made of. */
async function disksBelow(device: string): Promise<Disk[]> {
  const isPartition = (await stat(join(device, 'partition')).catch(() => null)) !== null
  if (isPartition) return disksBelow(dirname(device))
  const slaves = await readdir(join(device, 'slaves')).catch((): string[] => [])
  const below = await Promise.all(slaves.map(async slave => disksBelow(await realpath(join(device, 'slaves', slave)))))
  if (below.length > 0) return below.flat()
  const name = basename(device)
  return [{ name, isCard: /^mmcblk\d+$/.test(name) }]
}
