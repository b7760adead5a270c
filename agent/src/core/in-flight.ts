/**
 * Which batches are on their way. Pure bookkeeping: no clock, no socket, no buffer.
 *
 * Positions number the readings of a buffer through all its epochs, in the order they were sampled. Invariants:
 * - Flights are kept oldest first; their spans neither overlap nor change places.
 * - PUBACKs may come in any order, but only the acked prefix is settled, so what is held is always one unbroken tail.
 * - A lost connection makes every unacked flight wait again, in its old place.
 */

/** Readings at positions in (after, last]. A flight without readings has `count` 0 and `last` = `after`. */
export interface Span {
  readonly after: number
  readonly last: number
  readonly count: number
}

export interface Flight<C> {
  readonly id: number
  readonly span: Span
  readonly state: 'waiting' | 'sent' | 'acked'
  /** What the sender wants to remember of it, for when it is settled. */
  readonly cargo: C
}

type MutableFlight<C> = { -readonly [K in keyof Flight<C>]: Flight<C>[K] }

export class InFlightWindow<C> {
  private flights: MutableFlight<C>[] = []
  private nextId = 1

  constructor(private readonly batchesMax: number) {}

  get size(): number {
    return this.flights.length
  }

  get sent(): number {
    return this.flights.filter(flight => flight.state === 'sent').length
  }

  /** Whether one more batch may be taken from the buffer. */
  get hasRoom(): boolean {
    return this.flights.length < this.batchesMax
  }

  /** The last position that a flight covers; null where there is none. */
  get last(): number | null {
    return this.flights.at(-1)?.span.last ?? null
  }

  all(): readonly Flight<C>[] {
    return this.flights
  }

  /** The oldest flight that must be sent (again). */
  oldestWaiting(): Flight<C> | null {
    return this.flights.find(flight => flight.state === 'waiting') ?? null
  }

  /** The oldest flight that was sent and not acked. */
  oldestSent(): Flight<C> | null {
    return this.flights.find(flight => flight.state === 'sent') ?? null
  }

  /** Takes a batch in, behind all others. It waits until `send`. */
  add(span: Span, cargo: C): Flight<C> {
    const last = this.last
    if (last !== null && span.after < last) throw new Error(`positions behind ${span.after} are in flight up to ${last}`)
    const flight: MutableFlight<C> = { id: this.nextId++, span, state: 'waiting', cargo }
    this.flights.push(flight)
    return flight
  }

  send(id: number, cargo: C): void {
    const flight = this.flights.find(f => f.id === id)
    if (flight?.state !== 'waiting') throw new Error(`flight ${id} is not waiting`)
    flight.state = 'sent'
    flight.cargo = cargo
  }

  /** Notes a PUBACK and returns the flights that this settles, oldest first; they leave the window. */
  ack(id: number): Flight<C>[] {
    const flight = this.flights.find(f => f.id === id)
    if (flight?.state !== 'sent') return [] // of a connection that is gone
    flight.state = 'acked'
    return this.takeSettled()
  }

  /** The connection is gone: nobody will ack what was sent on it. */
  lose(): void {
    for (const flight of this.flights) if (flight.state === 'sent') flight.state = 'waiting'
  }

  /** Splits a waiting flight at a position inside its span; `count` readings lie before it. */
  split(id: number, position: number, count: number, cargo: C): void {
    const at = this.flights.findIndex(f => f.id === id)
    const flight = this.flights[at]
    if (flight?.state !== 'waiting') throw new Error(`flight ${id} is not waiting`)
    const { after, last } = flight.span
    if (position <= after || position >= last || count < 1 || count >= flight.span.count)
      throw new Error(`flight ${id} cannot be split at ${position}`)
    const head = { id: flight.id, span: { after, last: position, count }, state: 'waiting' as const, cargo }
    const tail = { id: this.nextId++, span: { after: position, last, count: flight.span.count - count }, state: 'waiting' as const, cargo }
    this.flights.splice(at, 1, head, tail)
  }

  /**
   * Takes a waiting flight out: its readings were shed, or are identified anew. Returns the flights that this settles, as `ack`
   * does: those that were acked behind it.
   */
  remove(id: number): Flight<C>[] {
    const at = this.flights.findIndex(f => f.id === id)
    if (this.flights[at]?.state !== 'waiting') throw new Error(`flight ${id} is not waiting`)
    this.flights.splice(at, 1)
    return this.takeSettled()
  }

  private takeSettled(): Flight<C>[] {
    const firstUnacked = this.flights.findIndex(f => f.state !== 'acked')
    return this.flights.splice(0, firstUnacked < 0 ? this.flights.length : firstUnacked)
  }
}
