/** How fast a device may publish, as people write it: readings or payload bytes a second. */

export interface Rate {
  readonly unit: 'readings' | 'bytes'
  /** Above 0. */
  readonly perSecond: number
}

const UNIT_BYTES = { B: 1, KB: 1e3, MB: 1e6, KiB: 2 ** 10, MiB: 2 ** 20 } as const
const RATE = /^(\d{1,9})(B|KB|MB|KiB|MiB)?\/s$/

/** `500/s` is readings, `64KiB/s` bytes; null for anything else, and for 0. */
export function parseRate(text: string): Rate | null {
  const match = RATE.exec(text)
  if (match === null || Number(match[1]) === 0) return null
  const unit = match[2] as keyof typeof UNIT_BYTES | undefined
  if (unit === undefined) return { unit: 'readings', perSecond: Number(match[1]) }
  return { unit: 'bytes', perSecond: Number(match[1]) * UNIT_BYTES[unit] }
}
