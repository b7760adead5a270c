/** The thread that makes repairs, one after the other, in the order of their boundaries. Whatever fails leaves them ordered. */
import { parentPort, workerData } from 'node:worker_threads'
import { dataPaths } from '../archive/paths.js'
import type { FromRepair, RepairWorkerData, ToRepair } from './messages.js'
import { RepairCatalog } from './repair-catalog.js'
import { RepairStopped, repair, tidyStaging } from './repair-job.js'

if (parentPort === null) throw new Error('repair-worker.js is a worker thread')
const port = parentPort
const { dataDir, memoryMiB } = workerData as RepairWorkerData
const paths = dataPaths(dataDir)
const post = (message: FromRepair) => port.postMessage(message)
let isClosing = false

async function run(): Promise<void> {
  const catalog = new RepairCatalog(paths.catalog)
  try {
    tidyStaging(paths, catalog)
    for (const job of catalog.jobs()) {
      if (isClosing) return
      const progress = (progress: { marks: number; marksDone: number }) => {
        post({ type: 'progress', ...progress })
        return !isClosing
      }
      post({ type: 'repaired', repaired: await repair(job, { paths, catalog, memoryMiB, progress }) })
    }
    post({ type: 'done' })
  } catch (error) {
    if (!(error instanceof RepairStopped)) post({ type: 'failed', message: error instanceof Error ? error.message : String(error) })
  } finally {
    catalog.close()
  }
}

let previous: Promise<void> = Promise.resolve()

port.on('message', (message: ToRepair) => {
  isClosing ||= message.type === 'close'
  previous = previous.then(async () => {
    if (message.type === 'close') port.close()
    else if (!isClosing) await run()
  })
})
