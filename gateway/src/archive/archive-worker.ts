import { parentPort, workerData } from 'node:worker_threads'
import type { Flush } from '../processor/flush.js'
import { ArchiveWriteError } from './archive-error.js'
import { Catalog } from './catalog.js'
import { Committer } from './commit.js'
import type { ArchiveReply, ArchiveRequest, ArchiveWorkerData } from './messages.js'
import { dataPaths } from './paths.js'

/** The thread that writes the archive. It keeps a flush until it is durable; fsync and Parquet make nobody else wait. */

if (parentPort === null) throw new Error('archive-worker.js is a worker thread')
const port = parentPort
const { dataDir, shard, memoryMiB } = workerData as ArchiveWorkerData
const paths = dataPaths(dataDir)
const catalog = Catalog.open(paths.catalog)
const committer = new Committer(paths, catalog, { shard, memoryMiB })
let pending: Flush | null = null

async function answer(request: ArchiveRequest): Promise<ArchiveReply> {
  if (request.type === 'close') {
    committer.close()
    catalog.close()
    return { type: 'closed' }
  }
  if (request.type === 'record-snapshot') {
    try {
      return { type: 'recorded', recorded: committer.recordSnapshot(request.entry, request.ingestMs) }
    } catch (error) {
      return failed(error)
    }
  }
  if (request.type === 'write') pending = request.flush
  if (pending === null) return { type: 'failed', message: 'there is no flush to try again', path: dataDir, retryable: false }
  try {
    const written = await committer.write(pending)
    pending = null
    return { type: 'written', written }
  } catch (error) {
    const reply = failed(error)
    if (!reply.retryable) pending = null
    return reply
  }
}

function failed(error: unknown): Extract<ArchiveReply, { type: 'failed' }> {
  const retryable = error instanceof ArchiveWriteError
  const message = error instanceof Error ? error.message : String(error)
  return { type: 'failed', message, path: retryable ? error.path : dataDir, retryable }
}

let previous: Promise<void> = Promise.resolve()

port.on('message', (request: ArchiveRequest) => {
  previous = previous.then(async () => {
    const reply = await answer(request)
    port.postMessage(reply)
    if (reply.type === 'closed') port.close()
  })
})
