import { mkdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, onTestFinished, test, vi } from 'vitest'
import type { BufferConfig } from '../../agent/src/config.js'
import { Upkeep } from '../../agent/src/upkeep.js'
import { openBuffer, silent, temporaryFolder, until } from './kit.js'

const CONFIG: BufferConfig = {
  durability: 'strict',
  commitIntervalMs: 100,
  bytesMax: 2 ** 30,
  ageMsMax: 86_400_000,
  freeBytesMin: 0,
  whenFull: 'thin',
  ringBytesMax: 2 ** 20
}

test.each([
  [Number.MAX_SAFE_INTEGER, true],
  [0, false]
])('with %i bytes of the disk to be left to others, that the buffer may grow no more is %s', async (freeBytesMin, isShort) => {
  const buffer = openBuffer(join(await temporaryFolder(), 'buffer.sqlite'))
  const limited = vi.spyOn(buffer, 'limitGrowth')
  const problem = vi.fn()
  const upkeep = new Upkeep(buffer, { ...CONFIG, freeBytesMin }, silent, { changed: vi.fn(), problem, failed: vi.fn() })
  onTestFinished(() => {
    upkeep.stop()
    buffer.close()
  })
  upkeep.start()
  await until(() => limited.mock.calls.length > 0)
  expect(limited).toHaveBeenCalledWith(isShort)
  expect(problem.mock.calls).toEqual(isShort ? [[expect.stringContaining('less than min_free is left')]] : [])
})

test('goes on where the disk does not say how much space it has', async () => {
  const folder = await temporaryFolder()
  const disk = join(folder, 'disk')
  await mkdir(disk)
  const buffer = openBuffer(join(disk, 'buffer.sqlite'))
  const expire = vi.spyOn(buffer, 'expire')
  const failed = vi.fn()
  const limited = vi.spyOn(buffer, 'limitGrowth')
  const upkeep = new Upkeep(buffer, CONFIG, silent, { changed: vi.fn(), problem: vi.fn(), failed })
  onTestFinished(() => upkeep.stop())
  await rm(disk, { recursive: true })
  upkeep.start()
  await until(() => expire.mock.calls.length > 0 || failed.mock.calls.length > 0)
  expect(failed).not.toHaveBeenCalled()
  expect(limited).not.toHaveBeenCalled()
})
