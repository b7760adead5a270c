import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { decodeSnapshot, readSnapshot, writeSnapshot } from '../../../gateway/src/archive/snapshot-file.js'
import { temporaryFolder } from './kit.js'

const STATE = Buffer.from('the state of all devices')

function written(): { folder: string; path: string; bytes: Buffer } {
  const folder = temporaryFolder()
  const { file } = writeSnapshot(folder, { entry: 7, state: STATE })
  return { folder, path: join(folder, file), bytes: readFileSync(join(folder, file)) }
}

test('a snapshot comes back as it was written, under its final name only', () => {
  const { folder, path } = written()
  expect(readdirSync(folder)).toEqual(['000000000007.snapshot'])
  const snapshot = readSnapshot(path)
  if (typeof snapshot === 'string') throw new Error(snapshot)
  expect(snapshot.entry).toBe(7)
  expect(Buffer.from(snapshot.state)).toEqual(STATE)
})

test('an empty state is a snapshot too', () => {
  const folder = temporaryFolder()
  const { file, bytes } = writeSnapshot(folder, { entry: 1, state: new Uint8Array(0) })
  expect(readFileSync(join(folder, file))).toHaveLength(bytes)
  expect(readSnapshot(join(folder, file))).toEqual({ entry: 1, state: Buffer.alloc(0) })
})

test('a snapshot torn at any byte is none', () => {
  const { bytes } = written()
  for (let length = 0; length < bytes.length; length++)
    expect(typeof decodeSnapshot(bytes.subarray(0, length)), `${length} bytes`).toBe('string')
})

test('a snapshot with more bytes behind it is none', () => {
  expect(decodeSnapshot(Buffer.concat([written().bytes, Buffer.from([0])]))).toMatch('bytes of state')
})

test('a snapshot with any bit flipped is none', () => {
  const { bytes } = written()
  for (let bit = 0; bit < bytes.length * 8; bit++) {
    const flipped = Buffer.from(bytes)
    flipped[bit >> 3] ^= 1 << (bit & 7)
    expect(typeof decodeSnapshot(flipped), `bit ${bit}`).toBe('string')
  }
})

test('a file that is not there says so', () => {
  const { path } = written()
  expect(readSnapshot(`${path}.none`)).toMatch('ENOENT')
})

test('writing the same snapshot again replaces what a crash left of it', () => {
  const { folder, path } = written()
  writeFileSync(`${path}.tmp`, 'half a snap')
  writeSnapshot(folder, { entry: 7, state: STATE })
  expect(readdirSync(folder)).toEqual(['000000000007.snapshot'])
  expect(typeof readSnapshot(path)).toBe('object')
})
