import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import type { ResourceLimits } from 'node:worker_threads'
import { expect, test } from 'vitest'
import { youngGenerationOf } from '../../gateway/src/heaps.js'

const MiB = 2 ** 20

/**
 * Keeps some 80 MB in arrays, of which the oldest half is replaced again and again: it is old when it becomes garbage. Tells what the
 * heap held in the end on average, in bytes.
 */
const OLD_GARBAGE = `
  import { setTimeout as sleep } from 'node:timers/promises'
  if (process.argv[1] === 'settled') settleHeaps()
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

/** What a script prints in a process whose heaps are settled, or as usual. */
async function printed(script: string, how: 'settled' | 'usual', flags: string[] = []): Promise<number[]> {
  const imported = `import { settleHeaps } from ${JSON.stringify(new URL('../../gateway/dist/heaps.js', import.meta.url).href)}\n`
  const { stdout } = await promisify(execFile)(process.execPath, [...flags, '--input-type=module', '-e', imported + script, how])
  return stdout.trim().split(' ').map(Number)
}

test('a heap of which little becomes garbage is collected before it has grown by much', async () => {
  const [[settled], [usual]] = await Promise.all([printed(OLD_GARBAGE, 'settled'), printed(OLD_GARBAGE, 'usual')])
  expect(settled).toBeLessThan(usual * 0.8)
})

/** Much of what it makes survives for a while. Keeps each capacity that its young generation comes to, in bytes a semi-space. */
const SURVIVORS = `
  import { getHeapSpaceStatistics } from 'node:v8'
  const kept = []
  const capacities = new Set()
  for (let n = 0; n < 1_500_000; n++) {
    kept[n % 30_000] = new Array(16).fill(n)
    if (n % 2000 > 0) continue
    await new Promise(resolve => setTimeout(resolve, 1))
    const space = getHeapSpaceStatistics().find(space => space.space_name === 'new_space')
    capacities.add(space.space_used_size + space.space_available_size)
  }
`

test('the young generation of a main thread grows in one step, and no further', async () => {
  const script = `
    if (process.argv[1] === 'settled') settleHeaps()
    ${SURVIVORS}
    console.log(...capacities)`
  const flags = ['--max-semi-space-size=32']
  const [settled, usual] = await Promise.all([printed(script, 'settled', flags), printed(script, 'usual', flags)])
  expect(usual.length).toBeGreaterThan(4)
  expect(settled).toEqual([usual[0], settled[1]])
  expect(settled[1]).toBeGreaterThan(15.5 * MiB)
  expect(settled[1]).toBeLessThanOrEqual(16 * MiB)
})

/** Of a worker in a process whose heaps are settled: its young generation's capacities, in bytes a semi-space. */
async function workerCapacities(resourceLimits: ResourceLimits): Promise<number[]> {
  const worker = `
    import { parentPort } from 'node:worker_threads'
    ${SURVIVORS}
    parentPort.postMessage([...capacities])`
  const script = `
    import { Worker } from 'node:worker_threads'
    settleHeaps()
    const worker = new Worker(${JSON.stringify(worker)}, { eval: true, resourceLimits: ${JSON.stringify(resourceLimits)} })
    worker.on('message', capacities => console.log(...capacities))`
  return printed(script, 'settled')
}

test('the young generation of a worker is as large as it may be from the start', async () => {
  for (const mebibytes of [4, 16]) {
    const [capacity, ...others] = await workerCapacities(youngGenerationOf(mebibytes))
    expect(others).toEqual([])
    expect(capacity).toBeGreaterThan(0.97 * mebibytes * MiB)
    expect(capacity).toBeLessThanOrEqual(mebibytes * MiB)
  }
})
