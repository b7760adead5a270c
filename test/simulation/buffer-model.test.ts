/** The simulation's model of the agent's buffer and the real one run the same random actions and say the same. */
import { profileSchema } from '@tidemark/protocol'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { SqliteBuffer } from '../../agent/src/sqlite-buffer.js'
import { newDisk, SimulatedBuffer } from '../../load/src/simulation/buffer.js'
import { tempDir } from '../kit/temp-dir.js'

const PROFILE = profileSchema.parse({ name: 'one', interval: '1s', metrics: [{ name: 'value' }] })

const action = fc.oneof(
  { weight: 6, arbitrary: fc.record({ do: fc.constant('sample' as const), isShed: fc.constantFrom(false, false, true) }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('settle' as const), readings: fc.integer({ min: 1, max: 4 }) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('shed' as const) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('publish' as const), ahead: fc.integer({ min: 0, max: 3 }) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constantFrom('new-epoch' as const, 'epoch-spent' as const, 'reopen' as const) }) }
)
type Action = typeof action extends fc.Arbitrary<infer A> ? A : never

test('the model of the buffer agrees with SQLite, whatever is done to both', () => {
  const folder = tempDir()
  let runs = 0
  fc.assert(
    fc.property(fc.array(action, { minLength: 5, maxLength: 40, size: 'max' }), actions => {
      const pair = new Pair(`${folder}/${++runs}.sqlite`)
      for (const each of actions) {
        pair.run(each)
        pair.expectSame()
      }
      pair.real.close()
    }),
    { numRuns: 40 }
  )
})

class Pair {
  real: SqliteBuffer
  model: SimulatedBuffer
  private readonly disk = newDisk(1)
  private epochs = 1
  private modelEpochs = 1

  constructor(private readonly path: string) {
    this.epochs = 0
    this.real = this.open()
    this.model = this.openModel()
  }

  run(each: Action): void {
    const { real, model, disk } = this
    const oldest = disk.readings[0]
    switch (each.do) {
      case 'sample': {
        const position = disk.nextPosition
        const entry = each.isShed ? { shed: 'unreadable' } : { eventTimeMs: position * 1000, values: [position / 3] }
        model.append(entry, null)
        real.append({ profile: PROFILE, entries: [entry], source: null, nulledValues: 0, eventTimeMs: null })
        return
      }
      case 'settle': {
        const settled = disk.readings.slice(0, each.readings)
        const last = settled.at(-1)
        if (last === undefined) return
        const { epoch, base } = model.facts(last.position)
        const declared = [model, real].map(buffer => buffer.tombstonesFor(epoch, last.position - base + 1).carried)
        expect(model.settle(last.position, declared[0])).toEqual(settled)
        real.settle(last.position, settled.length, declared[1])
        return
      }
      case 'shed': {
        if (oldest === undefined) return
        const span = { after: disk.settledPosition, last: oldest.position, count: 1 }
        model.shed({ ...span, after: oldest.position - 1 }, 'refused')
        real.shed({ ...span, after: oldest.position - 1 }, 'refused')
        return
      }
      case 'publish':
        for (const buffer of [model, real]) buffer.willPublish(disk.settledPosition + each.ahead, 0)
        return
      case 'new-epoch':
        for (const buffer of [model, real]) buffer.takeNewEpoch()
        return
      case 'epoch-spent':
        expect(model.replaceSpentEpoch(model.epoch)).toBe(real.replaceSpentEpoch(real.epoch))
        return
      case 'reopen':
        real.close()
        this.real = this.open()
        this.model = this.openModel()
        return
      default:
        each satisfies never
    }
  }

  private openModel(): SimulatedBuffer {
    return new SimulatedBuffer(this.disk, PROFILE, () => ++this.modelEpochs)
  }

  expectSame(): void {
    const { real, model, disk } = this
    expect(model.facts()).toEqual(real.facts())
    expect(model.held).toBe(real.state.held)
    for (const key of ['nextPosition', 'settledPosition', 'publishedPosition'] as const) expect(disk[key], key).toBe(real.state[key])
    for (const { epoch } of disk.epochs) {
      expect(model.factsOfEpoch(epoch)).toEqual(real.factsOfEpoch(epoch))
      const [ofModel, ofReal] = [model, real].map(buffer =>
        buffer
          .tombstonesFor(epoch, 1000)
          .carried.map(({ firstSeq, lastSeq, keepEvery, reason }) => ({ firstSeq, lastSeq, keepEvery, reason }))
      )
      expect(ofModel).toEqual(ofReal)
    }
    for (const after of [0, disk.settledPosition, disk.nextPosition - 2]) {
      const [ofModel, ofReal] = [model, real].map(buffer => buffer.readAfter(after, 3))
      expect(ofModel).toEqual(ofReal)
    }
  }

  private open(): SqliteBuffer {
    return new SqliteBuffer({
      path: this.path,
      deviceId: 'pump-1',
      machineId: '',
      bytesMax: 1_000_000,
      whenFull: 'drop-newest',
      ringBytesMax: 1_000_000,
      isLive: false,
      profile: PROFILE,
      reserveReadings: 0,
      monotonicMs: () => 0,
      randomBytes: () => Uint8Array.of(0, 0, 0, 0, 0, 0, ++this.epochs),
      wallMs: () => 0
    })
  }
}
