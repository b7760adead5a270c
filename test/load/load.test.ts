/** The load runner as a command: its small scenario, with a gateway that is killed on the way, and its errors. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { ROOT, run } from '../kit/processes.js'

async function load(args: readonly string[]) {
  const running = run(join(ROOT, 'load/dist/load.js'), args)
  const status = await running.exit
  return { status, stdout: running.stdout(), stderr: running.stderr() }
}

test('the small scenario finds everything that was sent in the archive, once, though the gateway was killed', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'tidemark-load-test-'))
  onTestFinished(() => rmSync(dir, { recursive: true, force: true }))
  const [json, report] = [join(dir, 'out.json'), join(dir, 'out.html')]
  const { status, stdout, stderr } = await load(['small', '--json', json, '--report', report])
  expect({ status, stdout, stderr }).toMatchObject({ status: 0, stdout: expect.stringContaining('ok: every reading is in the archive') })
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

test('what the person must correct is one line, and exit code 2', async () => {
  for (const [args, message] of [
    [['nonsense'], /^load: there is no scenario nonsense: give a file, or one of /],
    [['small', '--for', 'long'], /Write a number and ms, s, m, h or d/],
    [['small', '--json', '/nowhere/x.json'], /^load: cannot write in \/nowhere \(ENOENT\): correct --json/]
  ] as const) {
    const { status, stderr } = await load(args)
    expect({ args, status }).toEqual({ args, status: 2 })
    expect(stderr).toMatch(message)
    expect(stderr).not.toMatch(/\n {4}at /)
  }
}, 30_000)
