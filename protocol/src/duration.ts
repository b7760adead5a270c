const UNIT_MS = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const

/** What `durationMs` reads: a whole number and a unit, `500ms`, `5s`, `10m`, `24h`, `7d`. Eight digits of days are still exact in ms. */
export const DURATION_PATTERN = /^(\d{1,8})(ms|s|m|h|d)$/

/** A duration as people write it, in ms. Throws a RangeError for anything but `DURATION_PATTERN`. */
export function durationMs(text: string): number {
  const match = DURATION_PATTERN.exec(text)
  if (!match) throw new RangeError(`"${text}" is no duration: write a number and ms, s, m, h or d, like 10m`)
  return Number(match[1]) * UNIT_MS[match[2] as keyof typeof UNIT_MS]
}
