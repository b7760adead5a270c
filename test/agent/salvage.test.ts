/** A damaged buffer: what can be read is kept under the same event IDs, the rest is declared, and the agent starts. */
import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync, renameSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { profileSchema } from '@tidemark/protocol'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { markPath } from '../../agent/src/buffer-mark.js'
import { openBuffer as openSound } from '../../agent/src/buffer-opening.js'
import { Sqlite } from '../../agent/src/sqlite.js'
import type { BufferOptions, SqliteBuffer } from '../../agent/src/sqlite-buffer.js'
import { CLI, run } from '../kit/processes.js'
import { openBuffer, replayConfig, silent, TestBroker, temporaryFolder, until } from './kit.js'

const PROFILE = profileSchema.parse({ name: 'one', interval: '1s', metrics: [{ name: 'value' }, { name: 'text', type: 'string' }] })

let epochs = 1000
const options = (path: string): BufferOptions => ({
  path,
  deviceId: 'pump-7',
  profile: PROFILE,
  machineId: '',
  bytesMax: 2 ** 30,
  whenFull: 'thin',
  ringBytesMax: 2 ** 20,
  isLive: true,
  reserveReadings: 0,
  randomBytes: () => Uint8Array.of(0, 0, 0, 0, 0, ++epochs >> 8, epochs & 255),
  wallMs: () => 0,
  monotonicMs: () => 0
})

/** A buffer of so many readings, a few to a commit, of which the first were acked; closed. The value of each is its seq. */
function filled(path: string, readings: number, acked: number): number {
  const buffer = openBuffer(path, { isLive: true })
  for (let seq = 1; seq <= readings; ) {
    const entries = Array.from({ length: Math.min(7, readings - seq + 1) }, () => ({ eventTimeMs: seq, values: [seq++, 'x'.repeat(40)] }))
    buffer.append({ profile: PROFILE, entries, source: null, nulledValues: 0, eventTimeMs: seq })
  }
  if (acked > 0) buffer.settle(acked, acked, [])
  const { epoch } = buffer
  buffer.close()
  return epoch
}

/** What a salvaged buffer holds and declares of an epoch, by seq. */
function fates(buffer: SqliteBuffer, epoch: number): { held: Set<number>; shed: Set<number> } {
  const [held, shed] = [new Set<number>(), new Set<number>()]
  for (let at = 0; ; ) {
    const read = buffer.readAfter(at, 100)
    if (read === null) break
    if (read.kind === 'damaged') throw new Error('still damaged')
    for (const [i, position] of read.readings.positions.entries()) {
      expect(buffer.facts(position)).toMatchObject({ epoch, base: 0 })
      expect(read.readings.columns[0].values[i]).toBe(position)
      held.add(position)
      at = position
    }
  }
  for (const { firstSeq, lastSeq } of buffer.tombstonesFor(epoch, 1e12).carried)
    for (let seq = firstSeq; seq <= lastSeq; seq++) shed.add(seq)
  return { held, shed }
}

function expectAccounted(path: string, epoch: number, readings: number, acked: number): Set<number> {
  const buffer = openSound(options(path), silent)
  const { held, shed } = fates(buffer, epoch)
  for (let seq = acked + 1; seq <= readings; seq++) expect(held.has(seq) || shed.has(seq), `seq ${seq}`).toBe(true)
  for (const seq of held) expect(seq).toBeGreaterThan(acked)
  expect(buffer.state.held).toBe(held.size)
  expect(buffer.state.nextPosition).toBeGreaterThan(readings)
  buffer.close()
  return held
}

describe('a buffer that was damaged', () => {
  test('by a file that was cut off keeps what lies in the rest, and declares what does not', async () => {
    const path = join(await temporaryFolder(), 'b.sqlite')
    const epoch = filled(path, 3000, 100)
    truncateSync(path, Math.floor(readFileSync(path).length / 2 / 4096) * 4096)
    const held = expectAccounted(path, epoch, 3000, 98)
    expect(held.size).toBeGreaterThan(300)
    expect(existsSync(`${path}.damaged-1`)).toBe(true)
    const again = openSound(options(path), silent)
    expect(again.epoch).not.toBe(epoch) // nobody can say which seqs were given
    expect(again.state.salvage).toMatch(/readings were kept, at most \d+ are declared as shed \(damaged\)/)
    again.close()
  })

  test('by a file that was emptied, overwritten or deleted is begun anew, and all is declared', async () => {
    for (const ruin of [(p: string) => truncateSync(p, 0), (p: string) => writeFileSync(p, 'x'.repeat(20_000)), (p: string) => rmSync(p)]) {
      const path = join(await temporaryFolder(), 'b.sqlite')
      const epoch = filled(path, 300, 0)
      ruin(path)
      expect(expectAccounted(path, epoch, 300, 0).size).toBe(0)
    }
  })

  test('by a -wal file that was deleted is told by its mark', async () => {
    const path = join(await temporaryFolder(), 'b.sqlite')
    const buffer = openBuffer(path, { isLive: true })
    const append = (count: number) => {
      for (let i = 0; i < count; i++) {
        const seq = buffer.state.nextPosition
        buffer.append({ profile: PROFILE, entries: [{ eventTimeMs: 1, values: [seq, ''] }], source: null, nulledValues: 0, eventTimeMs: 1 })
      }
    }
    append(50)
    const folder = await temporaryFolder()
    const copy = join(folder, 'copy.sqlite')
    for (const suffix of ['', '.mark']) writeFileSync(copy + suffix, readFileSync(path + suffix)) // all but the -wal
    buffer.close()
    const salvaged = openSound(options(copy), silent)
    const { held, shed } = fates(salvaged, buffer.epoch)
    for (let seq = 1; seq <= 50; seq++) expect(held.has(seq) || shed.has(seq), `seq ${seq}`).toBe(true)
    expect(salvaged.epoch).not.toBe(buffer.epoch)
    salvaged.close()
  })

  test('by flipped bytes, wherever they are: no reading is changed, moved to another ID, or forgotten', async () => {
    const folder = await temporaryFolder()
    const template = join(folder, 'template.sqlite')
    const epoch = filled(template, 700, 70)
    const sound = readFileSync(template)
    let files = 0
    let salvaged = 0
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(sound.length - 1), fc.integer({ min: 1, max: 255 })), { minLength: 1, maxLength: 8 }), flips => {
        const path = join(folder, `${files++}.sqlite`)
        const bytes = Buffer.from(sound)
        for (const [at, mask] of flips) bytes[at] ^= mask
        writeFileSync(path, bytes)
        writeFileSync(markPath(path), readFileSync(markPath(template)))
        const buffer = openSound(options(path), silent)
        const { held, shed } = fates(buffer, epoch)
        for (let seq = 71; seq <= 700; seq++) expect(held.has(seq) || shed.has(seq), `seq ${seq}`).toBe(true)
        expect(buffer.state.nextPosition).toBeGreaterThan(700)
        buffer.close()
        if (existsSync(`${path}.damaged-1`)) salvaged++
        for (const name of readdirSync(folder)) if (!name.startsWith('template')) rmSync(join(folder, name))
      }),
      { numRuns: 80 }
    )
    expect(salvaged).toBeGreaterThan(10)
  })

  test('by another letter in the name of a column, which SQLite does not mind', async () => {
    const path = join(await temporaryFolder(), 'b.sqlite')
    const epoch = filled(path, 20, 0)
    const bytes = readFileSync(path)
    for (let at = bytes.indexOf('first_position'); at >= 0; at = bytes.indexOf('first_position', at + 1)) bytes[at] ^= 1
    writeFileSync(path, bytes)
    const buffer = openSound(options(path), silent)
    const { held, shed } = fates(buffer, epoch)
    buffer.close()
    for (let seq = 1; seq <= 20; seq++) expect(held.has(seq) || shed.has(seq), `seq ${seq}`).toBe(true)
    expect(existsSync(`${path}.damaged-1`)).toBe(true)
  })

  test('is told from one that is sound, also while it is empty', async () => {
    const path = join(await temporaryFolder(), 'b.sqlite')
    for (let i = 0; i < 3; i++) openSound(options(path), silent).close()
    filled(path, 20, 0)
    openSound(options(path), silent).close()
    expect(existsSync(`${path}.damaged-1`)).toBe(false)
  })

  test('is not lost by a salvage that ends early: that is begun again, or finished', async () => {
    const path = join(await temporaryFolder(), 'b.sqlite')
    const epoch = filled(path, 700, 0)
    const bytes = readFileSync(path)
    writeFileSync(path, bytes.fill(0xff, bytes.length - 4096))
    let asked = 0
    const failing = {
      ...options(path),
      randomBytes: () => {
        if (asked++ === 1) throw new Error('the disk is full') // within the salvage, when the new file is there
        return options(path).randomBytes()
      }
    }
    expect(() => openSound(failing, silent)).toThrow(/cannot salvage the buffer .*the disk is full/)
    expect(existsSync(`${path}.salvaging`)).toBe(false)
    const held = expectAccounted(path, epoch, 700, 0)
    expect(held.size).toBeGreaterThan(100)
    // killed when the new file was whole, and the old one in its place or aside already
    for (const isAside of [false, true]) {
      renameSync(path, `${path}.salvaged`)
      if (!isAside) writeFileSync(path, 'damage '.repeat(1000))
      expect(expectAccounted(path, epoch, 700, 0)).toEqual(held)
      expect(existsSync(`${path}.salvaged`)).toBe(false)
    }
  })

  test('again and again keeps two damaged files, and no more', async () => {
    const folder = await temporaryFolder()
    const path = join(folder, 'b.sqlite')
    filled(path, 10, 0)
    for (let i = 0; i < 4; i++) {
      writeFileSync(path, `damage ${i} `.repeat(1000))
      openSound(options(path), silent).close()
    }
    expect(
      readdirSync(folder)
        .filter(name => /damaged-\d$/.test(name))
        .sort()
    ).toEqual(['b.sqlite.damaged-1', 'b.sqlite.damaged-2'])
    expect(readFileSync(`${path}.damaged-1`, 'utf8')).toMatch(/damage 3/)
  })
})

test.each(['strict', 'spill'])(
  'a buffer that is damaged under a running agent, durability %s, is salvaged, and the agent goes on',
  async durability => {
    const folder = await temporaryFolder()
    const broker = await TestBroker.start()
    const live = { profile: 'rotating-machine', source: { type: 'simulated' }, interval: '10ms' }
    const buffer = { path: 'buffer.sqlite', durability, commit_interval: '100ms' }
    const agent = run(CLI.agent, ['start', '--config', await replayConfig(folder, 0, broker.url, { ...live, buffer })])
    await until(() => broker.seqs.length > 20)
    broker.judge = () => 'hold' // so that what is sampled must be stored
    const { length } = broker.batches
    await until(() => broker.batches.length > length + 1) // and something is, that can be damaged
    const [{ batch: first }] = broker.batches
    const database = new Sqlite(join(folder, 'buffer.sqlite'))
    database.unsafeMode(true)
    database.pragma('writable_schema = ON')
    database.exec("UPDATE sqlite_schema SET rootpage = 999999 WHERE name = 'chunks'")
    database.pragma('schema_version = 1000000')
    database.close()
    await until(() => agent.logLines().some(({ msg }) => String(msg).startsWith('the buffer is salvaged')))
    broker.judge = () => 'ack'
    broker.release() // the salvaged buffer may have been quicker than this test
    await until(() => broker.batches.some(({ batch }) => batch.header.epoch !== first.header.epoch && batch.header.seqs.length > 0))
    await until(() => broker.batches.some(({ batch }) => batch.tombstones.some(({ reason }) => reason === 'damaged')))
    agent.child.kill('SIGTERM')
    expect(await agent.exit).toBe(0)
  },
  30_000
)

describe('doctor', () => {
  const doctor = (config: string, ...args: string[]) => {
    try {
      return { code: 0, stdout: execFileSync(process.execPath, [CLI.agent, 'doctor', '--config', config, ...args], { encoding: 'utf8' }) }
    } catch (error) {
      const { status, stdout } = error as { status: number; stdout: string }
      return { code: status, stdout }
    }
  }

  test('says what is wrong, salvages with --repair, and finds nothing then', async () => {
    const folder = await temporaryFolder()
    const config = await replayConfig(folder, 10, 'mqtt://127.0.0.1:1')
    const path = join(folder, 'buffer.sqlite')
    expect(doctor(config)).toMatchObject({ code: 0, stdout: expect.stringMatching(/not there yet: start the agent first/) })
    filled(path, 3000, 0)
    expect(doctor(config)).toMatchObject({ code: 0, stdout: expect.stringMatching(/sound[\s\S]*3000 readings/) })
    truncateSync(path, Math.floor(readFileSync(path).length / 2 / 4096) * 4096)
    expect(doctor(config)).toMatchObject({ code: 1, stdout: expect.stringMatching(/damaged[\s\S]*doctor --repair/) })
    const repaired = doctor(config, '--repair', '--json')
    expect(repaired.code).toBe(0)
    expect(JSON.parse(repaired.stdout)).toMatchObject({
      healthy: true,
      repaired: true,
      salvage: expect.stringMatching(/readings were kept/)
    })
    expect(doctor(config).code).toBe(0)
  })
})
