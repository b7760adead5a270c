/** Writing a disk that may refuse: what failed is tried again, not too often, and it is known since when and why nothing is written. */
import { BufferWriteError } from './buffer-error.js'
import { APPEND_RETRY_PAUSE_MS } from './limits.js'

export class DiskAttempts {
  private failure: { readonly error: BufferWriteError; readonly triedMs: number } | null = null

  /** @param reopen opens the file anew where that may help; throws where it cannot be opened */
  constructor(
    private readonly monotonicMs: () => number,
    private readonly reopen: () => void
  ) {}

  /** Why the disk cannot be written now; null where it can. */
  get error(): BufferWriteError | null {
    return this.failure?.error ?? null
  }

  /**
   * Does what writes; false where the disk refuses it, or has refused a moment ago: then nothing was done. Throws what does not pass
   * by itself.
   * @param isPaced false where the caller itself waits between its attempts
   */
  attempt(work: () => void, isPaced = true): boolean {
    const nowMs = this.monotonicMs()
    if (isPaced && this.failure !== null && nowMs - this.failure.triedMs < APPEND_RETRY_PAUSE_MS) return false
    try {
      if (this.failure?.error.needsReopening === true) this.reopen()
      work()
      this.failure = null
      return true
    } catch (error) {
      if (!(error instanceof BufferWriteError)) {
        if (this.failure === null) throw error
        this.failure = { ...this.failure, triedMs: nowMs } // it cannot be opened again yet
        return false
      }
      if (!error.passing) throw error
      this.failure = { error, triedMs: nowMs }
      return false
    }
  }
}
