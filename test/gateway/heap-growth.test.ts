import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'

/** Keeps some 80 MB in arrays, of which the oldest half is replaced again and again: it is old when it becomes garbage. Prints what the heap held in the end on average, in bytes. */
const SCRIPT = `
  import { setTimeout as sleep } from 'node:timers/promises'
  import { growHeapsSlowly } from ${JSON.stringify(new URL('../../gateway/dist/heap-growth.js', import.meta.url).href)}
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
