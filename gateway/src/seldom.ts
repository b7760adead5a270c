/** For lines of a log that would come by the hundred: calls through at most once in `ms`, with how many calls were left out before. */
export function seldom<T>(ms: number, call: (value: T, leftOut: number) => void): (value: T) => void {
  let calledMs = Number.NEGATIVE_INFINITY
  let leftOut = 0
  return value => {
    if (performance.now() - calledMs < ms) {
      leftOut++
      return
    }
    calledMs = performance.now()
    call(value, leftOut)
    leftOut = 0
  }
}
