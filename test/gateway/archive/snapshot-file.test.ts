import { createHash } from 'node:crypto'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { finishSnapshot, readSnapshot, SnapshotWriter } from '../../../gateway/src/archive/snapshot-file.js'
import { partsOf, temporaryFolder } from './kit.js'

const PARTS = ['the state', ' of all', ' devices', '']

function written(parts: readonly string[] = PARTS): { folder: string; path: string; bytes: Buffer } {
  const folder = temporaryFolder()
  write(folder, parts)
  const { file, bytes } = finishSnapshot(folder, 7)
  const path = join(folder, file)
  expect(readFileSync(path)).toHaveLength(bytes)
  return { folder, path, bytes: readFileSync(path) }
}

function write(folder: string, parts: readonly string[]): void {
  const writer = new SnapshotWriter(folder, 7)
  for (const part of parts) writer.append(Buffer.from(part))
  writer.close()
}

/** What is wrong with a file of these bytes; null where it is whole. */
function faultOf(path: string, bytes: Uint8Array): string | null {
  writeFileSync(path, bytes)
  const snapshot = readSnapshot(path)
  return typeof snapshot === 'string' ? snapshot : null
}

test('a snapshot comes back part by part as it was written, under its final name only', () => {
  const { folder, path } = written()
  expect(readdirSync(folder)).toEqual(['000000000007.snapshot'])
  const snapshot = readSnapshot(path)
  expect(snapshot).toMatchObject({ entry: 7 })
  expect(partsOf(snapshot)).toEqual(PARTS)
  expect(partsOf(snapshot), 'and once more').toEqual(PARTS)
})

test('a snapshot without parts is one too', () => {
  expect(partsOf(readSnapshot(written([]).path))).toEqual([])
})

test('a snapshot torn at any byte is none', () => {
  const { path, bytes } = written()
  for (let length = 0; length < bytes.length; length++) expect(faultOf(path, bytes.subarray(0, length)), `${length} bytes`).not.toBeNull()
})

test('a snapshot with more bytes behind it is none', () => {
  const { path, bytes } = written()
  expect(faultOf(path, Buffer.concat([bytes, Buffer.from([0])]))).toMatch('bytes of state')
})

test('a snapshot with any bit flipped is none', () => {
  const { path, bytes } = written(['state', ' x'])
  expect(faultOf(path, bytes)).toBeNull()
  for (let bit = 0; bit < bytes.length * 8; bit++) {
    const flipped = Buffer.from(bytes)
    flipped[bit >> 3] ^= 1 << (bit & 7)
    expect(faultOf(path, flipped), `bit ${bit}`).not.toBeNull()
  }
})

test('what is written and not finished has no name of a snapshot, and is none', () => {
  const folder = temporaryFolder()
  write(folder, PARTS)
  expect(readdirSync(folder)).toEqual(['000000000007.snapshot.tmp'])
  expect(readSnapshot(join(folder, '000000000007.snapshot.tmp'))).toBe('it does not begin as a snapshot does')
})

test('what is discarded leaves nothing', () => {
  const folder = temporaryFolder()
  const writer = new SnapshotWriter(folder, 7)
  writer.append(Buffer.from('half a snap'))
  writer.discard()
  expect(readdirSync(folder)).toEqual([])
})

test('a whole snapshot of another version is refused, not passed over as damaged', () => {
  const { path, bytes } = written()
  bytes.writeUInt32LE(1, 8)
  expect(faultOf(path, bytes)).toBe('its checksum does not fit')
  const checksum = createHash('sha256').update(bytes.subarray(0, 28)).update(bytes.subarray(60)).digest()
  checksum.copy(bytes, 28)
  expect(() => faultOf(path, bytes)).toThrow('is of version 1, which this gateway does not read')
})

test('a file that is not there says so', () => {
  const { path } = written()
  expect(readSnapshot(`${path}.none`)).toMatch('ENOENT')
})

test('writing the same snapshot again replaces what a crash left of it', () => {
  const { folder, path } = written()
  writeFileSync(`${path}.tmp`, 'half a snap')
  write(folder, ['anew'])
  finishSnapshot(folder, 7)
  expect(readdirSync(folder)).toEqual(['000000000007.snapshot'])
  expect(partsOf(readSnapshot(path))).toEqual(['anew'])
})

test('finishing a snapshot again, after a try that went wrong behind the rename, changes nothing', () => {
  const { folder, path, bytes } = written()
  finishSnapshot(folder, 7)
  expect(readFileSync(path)).toEqual(bytes)
})
