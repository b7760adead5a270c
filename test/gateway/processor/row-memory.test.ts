/** Shared memory that is let go goes back to the system soon, though V8 counts none of it. */
import { execFileSync } from 'node:child_process'
import { expect, test } from 'vitest'

const MEMORY = new URL('../../../gateway/dist/processor/row-memory.js', import.meta.url).href

/** Prints its memory in MB: with 200 MB of shared memory that has become old, and when that has been let go for a second of little work. */
const PROGRAM = `
import { RowMemory } from '${MEMORY}'
const rss = () => process.memoryUsage.rss() / 1e6
const work = (times, objects) => {
  for (let time = 0; time < times; time++) Array.from({ length: objects }, (_, i) => ({ i }))
}
const memory = new RowMemory()
let lent = Array.from({ length: 10 }, () => memory.take(20e6))
for (const each of lent) new Uint8Array(each).fill(1)
work(40, 200_000) // scavenges make it old
const held = rss()
for (const each of lent) memory.give(each)
lent = null
for (let round = 0; round < 10; round++) memory.endRound()
for (let i = 0; i < 10; i++) {
  await new Promise(resolve => setTimeout(resolve, 100))
  work(1, 20_000)
}
console.log(JSON.stringify({ held, released: rss() }))
`

test('memory that no flush has needed for some time goes back to the system', () => {
  const { held, released } = JSON.parse(execFileSync(process.execPath, ['--input-type=module', '--eval', PROGRAM], { encoding: 'utf8' }))
  expect(held - released).toBeGreaterThan(150)
})
