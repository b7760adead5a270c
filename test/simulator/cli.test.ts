import { spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, test } from 'vitest'
import { takeIn, writeArchive } from './archive-writer.js'
import { startBroker, type TestBroker } from './mqtt-broker.js'

const CLI = join(import.meta.dirname, '../../simulator/dist/cli.js')
const cleanups: (() => unknown)[] = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0)) await cleanup()
})

async function brokerFor(): Promise<TestBroker> {
  const broker = await startBroker()
  cleanups.push(() => broker.close())
  return broker
}

function tempDir(): string {
  const dir = mkdtempSync(join(tmpdir(), 'tidemark-sim-cli-'))
  cleanups.push(() => rmSync(dir, { recursive: true, force: true }))
  return dir
}

interface Ended {
  code: number | null
  stdout: string
  stderr: string
}

/** Runs the command; `onStderr` may send it signals. */
function sim(args: readonly string[], onStderr: (text: string, kill: (signal: NodeJS.Signals) => void) => void = () => {}): Promise<Ended> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [CLI, ...args])
    const ended: Ended = { code: null, stdout: '', stderr: '' }
    child.stdout.on('data', chunk => {
      ended.stdout += chunk
    })
    child.stderr.on('data', chunk => {
      ended.stderr += chunk
      onStderr(ended.stderr, signal => child.kill(signal))
    })
    child.on('error', reject)
    child.on('close', code => resolve({ ...ended, code }))
  })
}

describe('tidemark-sim', () => {
  test('shows defaults as they are written', async () => {
    const { stdout } = await sim(['generate', '--help'])
    for (const text of ['(default: 5m)', '(default: 1h)', '(default: max)']) expect(stdout.replace(/\s+/g, ' ')).toContain(text)
    expect(stdout).not.toContain('00000')
  })

  test('runs a fleet and verifies the archive that came of it', async () => {
    const broker = await brokerFor()
    const dir = tempDir()
    const runFile = join(dir, 'run.json')
    const faults = ['--duplicates', '0.05', '--late', '0.05', '--poison', '0.05']
    const size = ['--devices', '10', '--interval', '50ms', '--for', '1s', '--seed', '4']
    const ran = await sim(['run', '--url', broker.url, ...size, ...faults, '--json', join(dir, 'report.json'), '--out', runFile])
    expect(ran).toMatchObject({ code: 0, stdout: expect.stringContaining('200 readings of 10 devices sampled') })
    expect(ran.stderr).toContain('connected')
    const report = JSON.parse(readFileSync(join(dir, 'report.json'), 'utf8'))
    expect(report).toMatchObject({ devices: 10, sampled: 200, unacked: 0 })
    expect(JSON.parse(readFileSync(runFile, 'utf8'))).toMatchObject({ seed: 4, devices: 10, interval_ms: 50, report })

    const archive = takeIn(broker.received)
    await writeArchive(join(dir, 'right'), archive)
    const right = await sim(['verify', '--archive', join(dir, 'right'), '--run', runFile])
    expect(right).toMatchObject({ code: 0, stderr: '', stdout: expect.stringContaining('ok: the archive holds exactly what was sent') })
    const { start_ms } = JSON.parse(readFileSync(runFile, 'utf8'))
    const start = ['--start', new Date(start_ms).toISOString()]
    const bySeed = await sim(['verify', '--archive', join(dir, 'right'), ...size, ...faults, ...start])
    expect(bySeed).toMatchObject({ code: 0, stdout: right.stdout })
    archive.rows.pop()
    await writeArchive(join(dir, 'wrong'), archive)
    const wrong = await sim(['verify', '--archive', join(dir, 'wrong'), '--run', runFile, '--json'])
    expect(wrong.code).toBe(1)
    expect(JSON.parse(wrong.stdout)).toMatchObject({ ok: false, missing: 1, doubled: 0, different: 0 })
  })

  test('ends cleanly on Ctrl-C, with everything acked and its run written', async () => {
    const broker = await brokerFor()
    const runFile = join(tempDir(), 'run.json')
    let isStopped = false
    const args = ['run', '--url', broker.url, '--devices', '5', '--interval', '20ms', '--for', '1h', '--out', runFile]
    const ended = await sim(args, (text, kill) => {
      if (!isStopped && /sampling: 5\/5/.test(text)) {
        isStopped = true
        kill('SIGINT')
      }
    })
    expect(ended.code).toBe(0)
    const { seqs } = JSON.parse(readFileSync(runFile, 'utf8'))
    expect(seqs).toHaveLength(5)
    expect(broker.received.length).toBeGreaterThan(0)
    expect(broker.sockets.size).toBe(0)
  })

  test('says in one line what is wrong with its options, and what to do', async () => {
    const dir = tempDir()
    writeFileSync(join(dir, 'empty.json'), '{}')
    const wrong: [string[], RegExp][] = [
      [
        ['run', '--url', 'mqtt://127.0.0.1:1', '--devices', '1'],
        /no broker can be reached at 127\.0\.0\.1:1 .* start one, or correct --url/
      ],
      [['run', '--url', 'http://127.0.0.1:1'], /mqtt:\/\/ only/],
      [['run', '--url', 'mqtt://127.0.0.1:1', '--devices', '-3'], /number of devices must be a whole number/],
      [['run', '--url', 'mqtt://127.0.0.1:1', '--interval', 'often'], /Write a number and ms, s, m, h or d/],
      [['run', '--url', 'mqtt://127.0.0.1:1', '--out', join(dir, 'none/run.json')], /cannot write .*run\.json/],
      [['run'], /required option '--url/],
      [['verify', '--archive', join(dir, 'none'), '--run', join(dir, 'none.json')], /cannot read .*none\.json/],
      [['verify', '--archive', dir], /give --run .* or --start/],
      [['verify', '--archive', dir, '--run', join(dir, 'empty.json')], /empty\.json holds no run: seed/]
    ]
    for (const [args, message] of wrong) {
      const { code, stdout, stderr } = await sim(args)
      expect({ args, code, stdout, stderr }).toMatchObject({ code: 2, stdout: '', stderr: expect.stringMatching(message) })
      expect(stderr).not.toMatch(/\n {4}at /)
    }
  })

  test('teaches with examples', async () => {
    for (const args of [['--help'], ['run', '--help'], ['verify', '--help']]) {
      const { code, stdout } = await sim(args)
      expect(code).toBe(0)
      expect(stdout).toMatch(/\$ tidemark-sim (run|verify) --/)
    }
  })
})
