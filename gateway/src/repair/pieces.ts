/** Groups repair marks into batches whose readings fit the memory they may take. Pure. */

/** Rows as of (fromMs, throughMs]. */
export interface Range {
  readonly fromMs: number
  readonly throughMs: number
}

/** The marks of one device in a stretch of hours. */
export interface DeviceMarks {
  readonly deviceId: string
  /** By time. */
  readonly ranges: readonly Range[]
}

/** What is read at once of a device: event times (sinceMs, throughMs], for the rows of `ranges`. */
export interface Piece {
  readonly deviceId: string
  readonly sinceMs: number
  readonly throughMs: number
  readonly ranges: readonly Range[]
}

/** The pieces of a device: ranges that need the same readings are one piece, those far apart are several. */
export function piecesOf({ deviceId, ranges }: DeviceMarks, readBackMs: number): Piece[] {
  const pieces: { deviceId: string; sinceMs: number; throughMs: number; ranges: Range[] }[] = []
  for (const range of ranges) {
    const piece = pieces.at(-1)
    if (piece === undefined || range.fromMs - readBackMs > piece.throughMs) {
      pieces.push({ deviceId, sinceMs: range.fromMs - readBackMs, throughMs: range.throughMs, ranges: [range] })
      continue
    }
    piece.throughMs = Math.max(piece.throughMs, range.throughMs)
    const last = piece.ranges[piece.ranges.length - 1]
    if (range.fromMs <= last.throughMs)
      piece.ranges[piece.ranges.length - 1] = { fromMs: last.fromMs, throughMs: Math.max(last.throughMs, range.throughMs) }
    else piece.ranges.push(range)
  }
  return pieces
}

/** Pieces that hold about `readingsMax` readings together, if they come once each `intervalMs`; at least one a batch. */
export function* batchesOf(pieces: Iterable<Piece>, intervalMs: number, readingsMax: number): Generator<Piece[]> {
  let batch: Piece[] = []
  let readings = 0
  for (const piece of pieces) {
    const more = (piece.throughMs - piece.sinceMs) / intervalMs
    if (batch.length > 0 && readings + more > readingsMax) {
      yield batch
      batch = []
      readings = 0
    }
    batch.push(piece)
    readings += more
  }
  if (batch.length > 0) yield batch
}
