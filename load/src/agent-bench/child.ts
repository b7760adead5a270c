/** Runs one job of the buffer's benchmark and prints its figures as JSON. Arguments: job, path, readings, device. */
import { type BufferJob, runBufferJob } from './buffer-bench.js'

const [job, path, readings, device] = process.argv.slice(2)
process.stdout.write(`${JSON.stringify(runBufferJob(job as BufferJob, path, Number(readings), device))}\n`)
