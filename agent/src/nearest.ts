import { closest, distance } from 'fastest-levenshtein'

/** The suggestion that belongs behind "there is no X": the nearest of the known names, or all of them. */
export function didYouMean(name: string, known: readonly string[]): string {
  if (known.length === 0) return ''
  const nearest = closest(name.toLowerCase(), known)
  const isNear = distance(name.toLowerCase(), nearest.toLowerCase()) <= Math.max(2, name.length / 3)
  return isNear ? `; did you mean "${nearest}"?` : `; there are: ${known.join(', ')}`
}
