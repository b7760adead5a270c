/** The client and its real worker, as built. */
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { LogClient } from '../../../gateway/dist/log/log-client.js'
import { readFrames } from '../../../gateway/src/log/frames.js'
import { SqliteLogReader } from '../../../gateway/src/log/sqlite-log.js'
import { tempDir } from '../../kit/temp-dir.js'

async function openLog(): Promise<{ log: LogClient; path: string }> {
  const path = join(tempDir(), 'log.sqlite')
  return { log: await LogClient.open(path), path }
}

function append(log: LogClient, text: string): Promise<number> {
  return new Promise((resolve, reject) => {
    log.append('json', 'press-1', Buffer.from(text), (error: Error | null, entry: number) =>
      error === null ? resolve(entry) : reject(error)
    )
  })
}

function texts(path: string): string[] {
  const reader = new SqliteLogReader(path)
  const found = reader
    .read(0, 1000)
    .flatMap(entry =>
      [...readFrames(entry.frames)].filter(frame => frame.kind === 'json').map(frame => Buffer.from(frame.payload).toString())
    )
  reader.close()
  return found
}

test('many appends share few commits, keep their order, and are there when they are called back', async () => {
  const { log, path } = await openLog()
  const sent = Array.from({ length: 5000 }, (_, i) => `reading ${i}`)
  const entries = await Promise.all(sent.map(text => append(log, text)))
  expect(texts(path)).toEqual(sent)
  expect(entries).toEqual(entries.toSorted((a, b) => a - b))
  expect(new Set(entries).size).toBeLessThan(20)
  await log.close()
})

test('closing waits for what was appended', async () => {
  const { log, path } = await openLog()
  const appended = append(log, 'the last words')
  await log.close()
  await appended
  expect(texts(path)).toContain('the last words')
})

test('while it is held nothing is acked, and nothing is lost', async () => {
  const { log, path } = await openLog()
  await append(log, 'before')
  log.hold()
  const acked: string[] = []
  const held = append(log, 'held').then(() => acked.push('held'))
  await new Promise(resolve => (log.onEntry = resolve)) // a tick of the worker: time has passed
  expect(acked).toEqual([])
  log.release()
  await held
  await log.close()
  expect(texts(path)).toEqual(['before', 'held'])
})

test('a folder that is not there is named', async () => {
  await expect(LogClient.open('/nowhere/log.sqlite')).rejects.toThrow(/cannot append to \/nowhere\/log.sqlite/)
})

test('a full log asks to hold back', async () => {
  const { log } = await openLog()
  onTestFinished(() => log.close())
  log.hold()
  const payload = Buffer.alloc(1024 * 1024)
  for (let i = 0; i < 63; i++) log.append('json', 'press-1', payload, () => {})
  expect(log.isFull).toBe(false)
  log.append('json', 'press-1', payload, () => {})
  expect(log.isFull).toBe(true)
})
