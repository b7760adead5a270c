import { readFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { openExec } from '../../../agent/src/sources/exec.js'
import { measureOnce, never, profileOf, temporaryFolder, until } from '../kit.js'

const plain = { scale: 1, offset: 0 }
const PROFILE = profileOf('load', 'free', { name: 'place', type: 'string' })
const sh = (script: string) => ['/bin/sh', '-c', script]

/** Whether a process lives; one that has ended and was not reaped yet does not. */
function lives(pid: number): boolean {
  try {
    return !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))
  } catch {
    return false
  }
}

describe('the exec source', () => {
  test('takes JSON by path, or a bare number', async () => {
    const json = openExec(
      {
        command: ['echo', '{"a":{"b":[1,2.5]},"where":"hall 3"}'],
        metrics: { load: { path: 'a.b[1]', ...plain }, place: { path: 'where', ...plain } }
      },
      PROFILE
    )
    expect(await measureOnce(json)).toEqual({ values: { load: 2.5, place: 'hall 3' }, problems: [] })
    const bare = openExec({ command: ['echo', '21500'], metrics: { load: { scale: 0.001, offset: 1 } } }, PROFILE)
    expect((await measureOnce(bare)).values).toEqual({ load: 22.5 })
  })

  test('asks no shell', async () => {
    const source = openExec({ command: ['echo', '$(id) ; `id` | x'], metrics: { place: plain } }, PROFILE)
    expect((await measureOnce(source)).values).toEqual({ place: '$(id) ; `id` | x' })
  })

  test.each([
    ['is not there', ['/no/such/program'], '/no/such/program: there is no such program'],
    ['fails', sh('echo broken sensor >&2; exit 3'), '/bin/sh: it ended with exit code 3 (broken sensor)'],
    ['is killed', sh('kill -9 $$'), '/bin/sh: it was killed by SIGKILL']
  ])('says why where the command %s', async (_, command, message) => {
    await expect(openExec({ command, metrics: { load: plain } }, PROFILE).measure(never())).rejects.toThrow(message)
  })

  test('kills a command that prints without end', async () => {
    const source = openExec({ command: ['yes'], metrics: { load: plain } }, PROFILE)
    await expect(source.measure(never())).rejects.toThrow('yes: it printed more than 1048576 bytes, and was killed')
  })

  test.each([
    ['itself', (file: string) => `sleep 1000 & echo $$ $! > ${file}; wait`],
    ['with its output open after its own end', (file: string) => `sleep 1000 & echo $! > ${file}`],
    ['and will not hear SIGTERM', (file: string) => `trap '' TERM; echo $$ > ${file}; while :; do sleep 1000; done`]
  ])('kills a command that hangs %s, and what it has started', async (_, script) => {
    const file = join(await temporaryFolder(), 'pids')
    const limit = new AbortController()
    const measuring = openExec({ command: sh(script(file)), metrics: { load: plain } }, PROFILE).measure(limit.signal)
    const pids = () => {
      try {
        return readFileSync(file, 'utf8').trim().split(/\s+/).filter(Boolean).map(Number)
      } catch {
        return []
      }
    }
    await until(() => pids().length > 0)
    limit.abort()
    await expect(measuring).rejects.toThrow(/it did not end in time, and was killed/)
    await until(() => pids().every(pid => !lives(pid)))
    expect((await readFile(file, 'utf8')).length).toBeGreaterThan(1)
  })

  test('kills what runs when it is closed', async () => {
    const file = join(await temporaryFolder(), 'pid')
    const source = openExec({ command: sh(`echo $$ > ${file}; sleep 1000`), metrics: { load: plain } }, PROFILE)
    const measuring = source.measure(never()).catch(String)
    await until(() => {
      try {
        return readFileSync(file, 'utf8').trim() !== ''
      } catch {
        return false
      }
    })
    await source.close()
    expect(await measuring).toMatch(/was killed/)
    await until(() => !lives(Number(readFileSync(file, 'utf8'))))
  })
})
