const [QUOTE, BACKSLASH] = [0x22, 0x5c]

/**
 * Whether the arrays and objects of a JSON text lie at most `depthMax` deep in each other. Looks at its bytes alone, before
 * anything is built: JSON.parse takes any depth, but what recurses into its result does not. Says nothing on whether it is JSON.
 */
export function nestsWithin(text: Uint8Array, depthMax: number): boolean {
  let depth = 0
  let inString = false
  for (let at = 0; at < text.length; at++) {
    const byte = text[at]
    if (inString) {
      if (byte === BACKSLASH) at++
      else if (byte === QUOTE) inString = false
    } else if (byte === QUOTE) inString = true
    else if (byte === 0x5b || byte === 0x7b) {
      if (++depth > depthMax) return false
    } else if (byte === 0x5d || byte === 0x7d) depth--
  }
  return true
}
