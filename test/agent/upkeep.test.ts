import { mkdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, onTestFinished, test, vi } from 'vitest'
import type { BufferConfig } from '../../agent/src/config.js'
import { Upkeep } from '../../agent/src/upkeep.js'
import { openBuffer, silent, temporaryFolder, until } from './kit.js'

test('goes on where the disk does not say how much space it has', async () => {
  const folder = await temporaryFolder()
  const disk = join(folder, 'disk')
  await mkdir(disk)
  const buffer = openBuffer(join(disk, 'buffer.sqlite'))
  const expire = vi.spyOn(buffer, 'expire')
  const failed = vi.fn()
  const config: BufferConfig = {
    durability: 'strict',
    commitIntervalMs: 100,
    bytesMax: 2 ** 30,
    ageMsMax: 86_400_000,
    freeBytesMin: 0,
    whenFull: 'thin',
    ringBytesMax: 2 ** 20
  }
  const limited = vi.spyOn(buffer, 'limitGrowth')
  const upkeep = new Upkeep(buffer, config, silent, { changed: vi.fn(), problem: vi.fn(), failed })
  onTestFinished(() => upkeep.stop())
  await rm(disk, { recursive: true })
  upkeep.start()
  await until(() => expire.mock.calls.length > 0 || failed.mock.calls.length > 0)
  expect(failed).not.toHaveBeenCalled()
  expect(limited).not.toHaveBeenCalled()
})
