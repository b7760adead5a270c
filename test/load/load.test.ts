/** The load runner as a command: its small scenario, with a gateway that is killed on the way, and its errors. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { ROOT, type Running, run, runToEnd } from '../kit/processes.js'
import { until } from '../kit/until.js'

const LOAD = join(ROOT, 'load/dist/load.js')

function folder(): string {
  const dir = mkdtempSync(join(tmpdir(), 'tidemark-load-test-'))
  onTestFinished(() => rmSync(dir, { recursive: true, force: true }))
  return dir
}

test('the small scenario finds everything that was sent in the archive, once, though the gateway was killed', async () => {
  const dir = folder()
  const [json, report] = [join(dir, 'out.json'), join(dir, 'out.html')]
  const ended = await runToEnd(LOAD, ['small', '--json', json, '--report', report])
  expect(ended).toMatchObject({ code: 0, stdout: expect.stringContaining('ok: every reading is in the archive') })
  const result = JSON.parse(readFileSync(json, 'utf8'))
  expect(result).toMatchObject({ scenario: 'small', devices: 300, missing: 0, doubled: 0, different: 0, ok: true })
  // 300 devices, twice a second for 20 s, and an hour's sixth of 20 of them from before
  expect(result.readings_sent).toBe(300 * 40 + 20 * 1200)
  expect(result.readings_acked).toBe(result.readings_sent)
  expect(result.disconnects).toBeGreaterThanOrEqual(270)
  for (const figure of ['p50', 'p99', 'p999']) expect(result.puback_ms[figure]).toBeGreaterThan(0)
  expect(result.archive_ms.p99).toBeGreaterThan(0)
  expect(result.cpu_s_per_million).toBeGreaterThan(0)
  expect(result.rss_mb).toBeGreaterThan(50)
  const html = readFileSync(report, 'utf8')
  expect(html).toContain('<h1>small</h1>')
  expect(html).not.toMatch(/(src|href)="https?:/) // it works offline
}, 180_000)

const MINUTES = `
about: it would go on for long
fleet: { devices: 50, interval: 200ms, for: 10m, processes: 1 }
gateway: { flush: { interval: 1s, small_hour_wait: 0ms } }
`

/** A run that samples, as a terminal starts it: in a process group of its own. */
async function sampling(): Promise<Running & { readonly readyLine: string; readonly metricsUrl: string; ctrlC(): void }> {
  const dir = folder()
  writeFileSync(join(dir, 'minutes.yaml'), MINUTES)
  const running = run(LOAD, [join(dir, 'minutes.yaml'), '--keep', join(dir, 'kept')], { under: ['setsid'] })
  await until('the sampling', () => running.stderr().includes('sampling'))
  const readyLine = readFileSync(join(dir, 'kept/gateway.log'), 'utf8')
    .split('\n')
    .find(text => text.includes('"msg":"ready"'))!
  const metricsUrl = `http://${(JSON.parse(readyLine) as { http: string }).http}/metrics`
  await until('readings in the log', async () => /^tidemark_log_entries_total [1-9]/m.test(await (await fetch(metricsUrl)).text()))
  return { ...running, readyLine, metricsUrl, ctrlC: () => process.kill(-running.child.pid!, 'SIGINT') }
}

test('Ctrl-C, which a terminal sends to all of its processes, ends the sending, and what was sent is found', async () => {
  const running = await sampling()
  running.ctrlC()
  expect(await running.exit, running.stderr()).toBe(0)
  expect(running.stdout()).toContain('ok: every reading is in the archive')
})

test('a second Ctrl-C ends at once, and leaves no gateway behind', async () => {
  const running = await sampling()
  running.ctrlC()
  await until('the end of the sampling', () => running.stderr().includes('draining'))
  running.ctrlC()
  expect(await running.exit).toBe(130)
  await until('the gateway to be gone', () =>
    fetch(running.metricsUrl).then(
      () => false,
      () => true
    )
  )
})

test('a gateway that dies ends the run, and what it said last is shown', async () => {
  const running = await sampling()
  const { pid } = JSON.parse(running.readyLine) as { pid: number }
  process.kill(pid, 'SIGKILL')
  expect(await running.exit).toBe(1)
  expect(running.stderr()).toMatch(/load: the gateway ended with SIGKILL; it said last .*\n.*"msg":"ready"/s)
}, 60_000)

test('what the person must correct is one line, and exit code 2', async () => {
  for (const [args, message] of [
    [['nonsense'], /^load: there is no scenario nonsense: give a file, or one of /],
    [['small', '--for', 'long'], /Write a number and ms, s, m, h or d/],
    [['small', '--json', '/nowhere/x.json'], /^load: cannot write in \/nowhere \(ENOENT\): correct --json/]
  ] as const) {
    const { code, stderr } = await runToEnd(LOAD, args)
    expect({ args, code }).toEqual({ args, code: 2 })
    expect(stderr).toMatch(message)
    expect(stderr).not.toMatch(/\n {4}at /)
  }
}, 30_000)
