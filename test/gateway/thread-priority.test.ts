/** In a process of its own: priorities are the system's, and do not come back. */
import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'

const MODULE = fileURLToPath(new URL('../../gateway/dist/thread-priority.js', import.meta.url))

const SCRIPT = `
  import { getPriority } from 'node:os'
  import { Worker } from 'node:worker_threads'
  import { giveWayTo, threadId } from '${MODULE}'
  const source = 'import { parentPort } from "node:worker_threads"; import { threadId } from "${MODULE}"; parentPort.postMessage(threadId()); parentPort.ref()'
  const start = () => new Promise(resolve => new Worker(source, { eval: true }).once('message', resolve))
  const [log, processor] = [await start(), await start()]
  giveWayTo([threadId(), log])
  console.log(JSON.stringify({ main: getPriority(), log: getPriority(log), processor: getPriority(processor) }))
  process.exit()
`

test.runIf(process.platform === 'linux')('the threads that PUBACKs wait for run before the others', async () => {
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', SCRIPT])
  const { main, log, processor } = JSON.parse(stdout)
  expect(log).toBe(main)
  expect(processor).toBeGreaterThan(main)
})
