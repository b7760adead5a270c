/** Finds the line of a key in YAML text, for messages about it. */
import { isMap, isNode, isScalar, isSeq, LineCounter, type Node, parseDocument } from 'yaml'

/** The line, from 1, at which the key of a path stands, or the nearest key above it; null where there is none. */
export type LineOf = (path: readonly PropertyKey[]) => number | null

export function linesOf(text: string): LineOf {
  const lines = new LineCounter()
  const { contents } = parseDocument(text, { lineCounter: lines })
  return path => {
    let [at, offset]: [Node | null, number | null] = [contents, null]
    for (const key of path) {
      const found = child(at, key)
      if (found === null) break
      ;({ at, offset } = found)
    }
    return offset === null ? null : lines.linePos(offset).line
  }
}

function child(node: Node | null, key: PropertyKey): { at: Node | null; offset: number } | null {
  if (isMap(node)) {
    const pair = node.items.find(item => isScalar(item.key) && String(item.key.value) === String(key))
    if (!isScalar(pair?.key) || !pair.key.range) return null
    return { at: isNode(pair.value) ? pair.value : null, offset: pair.key.range[0] }
  }
  const item = isSeq(node) ? node.items[Number(key)] : null
  return isNode(item) && item.range ? { at: item, offset: item.range[0] } : null
}
