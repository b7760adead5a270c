/**
 * The area under the ROC curve: how probable it is that a random positive scores above a random negative, ties counting half. By ranks
 * (Mann and Whitney, 1947). NaN without a positive or without a negative.
 */
export function areaUnderCurve(scores: ArrayLike<number>, labels: ArrayLike<number>): number {
  const order = Array.from({ length: scores.length }, (_, i) => i).sort((a, b) => scores[a] - scores[b])
  let positives = 0
  let rankSum = 0
  for (let from = 0; from < order.length; ) {
    let to = from + 1
    while (to < order.length && scores[order[to]] === scores[order[from]]) to++
    const rank = (from + 1 + to) / 2 // of all that tie
    for (let k = from; k < to; k++) {
      if (labels[order[k]] !== 1) continue
      positives++
      rankSum += rank
    }
    from = to
  }
  const negatives = order.length - positives
  return positives === 0 || negatives === 0 ? Number.NaN : (rankSum - (positives * (positives + 1)) / 2) / (positives * negatives)
}

/**
 * Average precision: the mean, over the positives from the highest score down, of the share of positives among what scores as high.
 * Where positives are rare it tells good from very good, which the area under the ROC curve hardly does. NaN without a positive.
 */
export function averagePrecision(scores: ArrayLike<number>, labels: ArrayLike<number>): number {
  const order = Array.from({ length: scores.length }, (_, i) => i).sort((a, b) => scores[b] - scores[a] || a - b)
  let positives = 0
  let sum = 0
  for (const [k, i] of order.entries()) {
    if (labels[i] !== 1) continue
    positives++
    sum += positives / (k + 1)
  }
  return sum / positives
}
