import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type Flight, InFlightWindow } from '../../../agent/src/core/in-flight.js'

/** What the window should do, as plainly as it can be said: a list of batches and three sets. */
interface Model {
  batches: { last: number; count: number; state: 'waiting' | 'sent' | 'acked' }[]
  settledUpTo: number
  settledReadings: number
  taken: number
}

type Real = InFlightWindow<null>

function flightsOf(window: Real): readonly Flight<null>[] {
  return window.all()
}

function settle(model: Model): void {
  while (model.batches[0]?.state === 'acked') {
    const { last, count } = model.batches.shift()!
    model.settledUpTo = last
    model.settledReadings += count
  }
}

function check(model: Model, window: Real): void {
  expect(flightsOf(window).map(({ span, state }) => ({ last: span.last, count: span.count, state }))).toEqual(model.batches)
  expect(window.oldestWaiting()?.span.last ?? null).toBe(model.batches.find(b => b.state === 'waiting')?.last ?? null)
  expect(window.oldestSent()?.span.last ?? null).toBe(model.batches.find(b => b.state === 'sent')?.last ?? null)
  expect(window.size).toBe(model.batches.length)
  expect(window.last).toBe(model.batches.at(-1)?.last ?? null)
}

class Take implements fc.Command<Model, Real> {
  constructor(private readonly count: number) {}
  check = (model: Model) => model.batches.length < 4
  run(model: Model, window: Real) {
    expect(window.hasRoom).toBe(true)
    const span = { after: model.taken, last: model.taken + this.count, count: this.count }
    const flight = window.add(span, null)
    window.send(flight.id, null)
    model.taken = span.last
    model.batches.push({ last: span.last, count: span.count, state: 'sent' })
    check(model, window)
  }
  toString = () => `take(${this.count})`
}

class Ack implements fc.Command<Model, Real> {
  constructor(private readonly pick: number) {}
  check = (model: Model) => model.batches.length > 0
  run(model: Model, window: Real) {
    const index = this.pick % model.batches.length
    const flight = flightsOf(window)[index]
    const wasSent = model.batches[index].state === 'sent'
    const before = model.settledUpTo
    if (wasSent) {
      model.batches[index].state = 'acked'
      settle(model)
    }
    const settled = window.ack(flight.id)
    expect(settled.at(-1)?.span.last ?? before).toBe(model.settledUpTo)
    check(model, window)
  }
  toString = () => `ack(${this.pick})`
}

class Lose implements fc.Command<Model, Real> {
  check = () => true
  run(model: Model, window: Real) {
    for (const batch of model.batches) if (batch.state === 'sent') batch.state = 'waiting'
    window.lose()
    check(model, window)
  }
  toString = () => 'lose()'
}

class SendAgain implements fc.Command<Model, Real> {
  check = (model: Model) => model.batches.some(batch => batch.state === 'waiting')
  run(model: Model, window: Real) {
    model.batches.find(batch => batch.state === 'waiting')!.state = 'sent'
    window.send(window.oldestWaiting()!.id, null)
    check(model, window)
  }
  toString = () => 'sendAgain()'
}

class Halve implements fc.Command<Model, Real> {
  check = (model: Model) => (model.batches.find(batch => batch.state === 'waiting')?.count ?? 0) > 1
  run(model: Model, window: Real) {
    const index = model.batches.findIndex(batch => batch.state === 'waiting')
    const { last, count } = model.batches[index]
    const head = Math.floor(count / 2)
    const middle = last - (count - head)
    model.batches.splice(index, 1, { last: middle, count: head, state: 'waiting' }, { last, count: count - head, state: 'waiting' })
    window.split(window.oldestWaiting()!.id, middle, head, null)
    check(model, window)
  }
  toString = () => 'halve()'
}

class Remove implements fc.Command<Model, Real> {
  check = (model: Model) => model.batches.some(batch => batch.state === 'waiting')
  run(model: Model, window: Real) {
    const before = model.settledUpTo
    model.batches.splice(
      model.batches.findIndex(batch => batch.state === 'waiting'),
      1
    )
    settle(model)
    const settled = window.remove(window.oldestWaiting()!.id)
    expect(settled.at(-1)?.span.last ?? before).toBe(model.settledUpTo)
    check(model, window)
  }
  toString = () => 'remove()'
}

describe('the in-flight window', () => {
  test('does what a plain model does, whatever happens to connections and PUBACKs', () => {
    const commands = [
      fc.integer({ min: 1, max: 9 }).map(count => new Take(count)),
      fc.nat().map(pick => new Ack(pick)),
      fc.constant(new Lose()),
      fc.constant(new SendAgain()),
      fc.constant(new Halve()),
      fc.constant(new Remove())
    ]
    fc.assert(
      fc.property(fc.commands(commands, { size: '+1' }), script => {
        const setup = () => ({
          model: { batches: [], settledUpTo: 0, settledReadings: 0, taken: 0 } as Model,
          real: new InFlightWindow<null>(4)
        })
        fc.modelRun(setup, script)
      })
    )
  })

  test('settles nothing before the oldest batch is acked', () => {
    const window = new InFlightWindow<null>(8)
    const [a, b, c] = [0, 10, 20].map(after => window.add({ after, last: after + 10, count: 10 }, null))
    for (const { id } of [a, b, c]) window.send(id, null)
    expect(window.ack(c.id)).toEqual([])
    expect(window.ack(b.id)).toEqual([])
    expect(window.ack(a.id).map(flight => flight.span.last)).toEqual([10, 20, 30])
    expect(window.size).toBe(0)
  })

  test('settles what was acked behind a batch that is taken out', () => {
    const window = new InFlightWindow<null>(3)
    const [a, b, c] = [0, 10, 20].map(after => window.add({ after, last: after + 10, count: 10 }, null))
    for (const { id } of [a, b, c]) window.send(id, null)
    window.ack(b.id)
    window.ack(c.id)
    window.lose()
    expect(window.remove(a.id).map(flight => flight.span.last)).toEqual([20, 30])
    expect(window.hasRoom).toBe(true)
  })

  test('ignores the PUBACK of a connection that is gone', () => {
    const window = new InFlightWindow<null>(8)
    const flight = window.add({ after: 0, last: 5, count: 5 }, null)
    window.send(flight.id, null)
    window.lose()
    expect(window.ack(flight.id)).toEqual([])
    expect(window.oldestWaiting()?.id).toBe(flight.id)
  })

  test('refuses spans that overlap, and splits that leave nothing: those are mistakes of the caller', () => {
    const window = new InFlightWindow<null>(8)
    const flight = window.add({ after: 0, last: 5, count: 5 }, null)
    expect(() => window.add({ after: 3, last: 9, count: 6 }, null)).toThrow(/in flight/)
    expect(() => window.split(flight.id, 5, 5, null)).toThrow(/split/)
  })
})
