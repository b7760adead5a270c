import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { promisify } from 'node:util'
import { type ResourceLimits, Worker } from 'node:worker_threads'
import { expect, test } from 'vitest'
import { youngGenerationOf } from '../../gateway/src/heaps.js'

const MiB = 2 ** 20

/**
 * Keeps some 80 MB in arrays, of which the oldest half is replaced again and again: it is old when it becomes garbage. Tells what the
 * heap held in the end on average, in bytes.
 */
const SCRIPT = `
  import { setTimeout as sleep } from 'node:timers/promises'
  import { growHeapsSlowly } from ${JSON.stringify(new URL('../../gateway/dist/heaps.js', import.meta.url).href)}
  if (process.argv[1] === 'slowly') growHeapsSlowly()
  const kept = Array.from({ length: 450_000 }, (_, i) => new Array(16).fill(i))
  const held = []
  for (let n = 0; n < 3_000_000; n++) {
    kept[n % 200_000] = new Array(16).fill(n)
    if (n % 5000 > 0) continue
    await sleep(1)
    if (n >= 2_000_000) held.push(process.memoryUsage().heapUsed)
  }
  console.log(held.reduce((sum, bytes) => sum + bytes, 0) / held.length, kept.length)
`

async function meanBytes(how: string): Promise<number> {
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', SCRIPT, how])
  return Number(stdout.split(' ')[0])
}

test('a heap of which little becomes garbage is collected before it has grown by much', async () => {
  const [slowly, usually] = await Promise.all([meanBytes('slowly'), meanBytes('usually')])
  expect(slowly).toBeLessThan(usually * 0.8)
})

/** Much of what it makes survives for a while. Tells the largest size of its young generation, in bytes. */
const SURVIVORS = `
  const { getHeapSpaceStatistics } = require('node:v8')
  const kept = []
  let most = 0
  for (let n = 0; n < 1_500_000; n++) {
    kept[n % 30_000] = new Array(16).fill(n)
    if (n % 20_000 === 0) most = Math.max(most, getHeapSpaceStatistics().find(space => space.space_name === 'new_space').space_size)
  }
  require('node:worker_threads').parentPort.postMessage(most)
`

async function youngBytes(resourceLimits: ResourceLimits): Promise<number> {
  const [most] = await once(new Worker(SURVIVORS, { eval: true, resourceLimits }), 'message')
  return most
}

test('the young generation of a worker stays within its limit', async () => {
  const [limited, unlimited] = await Promise.all([youngBytes(youngGenerationOf()), youngBytes({})])
  expect(limited).toBeLessThan(2 * 4 * MiB + MiB)
  expect(unlimited).toBeGreaterThan(2 * limited)
})
