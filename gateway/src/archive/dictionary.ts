/** A flush's dictionary: its texts in UTF-8, one behind the other, and a note on each of them for who goes through rows. */
export class Dictionary {
  readonly bytes: Buffer
  /** The text at `place` lies at [starts[place], starts[place + 1]). */
  readonly starts: Int32Array
  readonly longestBytes: number
  private readonly notes: Int32Array
  /** The round in which each note was made: others do not count. */
  private readonly rounds: Int32Array
  private round = 0

  constructor(readonly texts: readonly string[]) {
    const { length } = texts
    this.starts = new Int32Array(length + 1)
    let longestBytes = 0
    for (let place = 0; place < length; place++) {
      const bytes = Buffer.byteLength(texts[place])
      longestBytes = Math.max(longestBytes, bytes)
      this.starts[place + 1] = this.starts[place] + bytes
    }
    this.longestBytes = longestBytes
    this.bytes = Buffer.allocUnsafe(this.starts[length])
    for (let place = 0; place < length; place++) this.bytes.write(texts[place], this.starts[place])
    this.notes = new Int32Array(length)
    this.rounds = new Int32Array(length)
  }

  /** Forgets all notes. */
  beginRound(): void {
    this.round++
  }

  note(place: number, value: number): void {
    this.notes[place] = value
    this.rounds[place] = this.round
  }

  /** -1: nothing was noted in this round. */
  noteOf(place: number): number {
    return this.rounds[place] === this.round ? this.notes[place] : -1
  }
}
