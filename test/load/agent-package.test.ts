/** The agent's tarball: it installs by itself, holds nothing of the gateway, and delivers. */
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { expect, test } from 'vitest'
import { query, ROOT, run, runToEnd, startGateway } from '../kit/processes.js'
import { tempDir } from '../kit/temp-dir.js'

/** Packs and installs with nothing to fetch from: npm leaves out the optional dependencies, those with native code. */
async function install(): Promise<{ folder: string; prefix: string }> {
  const dir = tempDir()
  const { code, stdout, stderr } = await runToEnd(join(ROOT, 'load/dist/pack-agent.js'), ['--out', dir])
  expect([code, stderr]).toEqual([0, ''])
  const tarball = stdout.trim()
  expect(tarball).toMatch(/\/tidemark-agent-\d+\.\d+\.\d+\.tgz$/)
  const prefix = join(dir, 'prefix')
  const options = ['--offline', '--cache', join(dir, 'cache'), '--no-audit', '--no-fund']
  execFileSync('npm', ['install', '-g', '--prefix', prefix, ...options, tarball], { cwd: dir, stdio: 'pipe' })
  return { folder: join(prefix, 'lib/node_modules/@tidemark/agent'), prefix }
}

/** What npm would have built on a device: the one better-sqlite3 that this Node loads. */
function addSqlite(folder: string): void {
  const names = ['better-sqlite3', 'better-sqlite3-node20'].filter(name => existsSync(join(ROOT, 'node_modules', name)))
  mkdirSync(join(folder, 'node_modules'))
  for (const name of names) symlinkSync(join(ROOT, 'node_modules', name), join(folder, 'node_modules', name))
}

/** Those that are loaded late, too. */
function loadEveryPart(dist: string): void {
  const parts = readdirSync(dist).filter(name => name !== 'cli.js')
  expect(parts.length).toBeGreaterThan(10)
  const script = parts.map(name => `await import(${JSON.stringify(pathToFileURL(join(dist, name)).href)})`).join('\n')
  expect(execFileSync(process.execPath, ['--input-type=module', '--eval', script], { encoding: 'utf8' })).toBe('')
}

test('installed from its tarball alone, the agent delivers readings to the archive', async () => {
  const { folder, prefix } = await install()
  expect(readdirSync(join(prefix, 'lib/node_modules/@tidemark'))).toEqual(['agent'])
  expect(existsSync(join(folder, 'node_modules'))).toBe(false)
  const { dependencies, optionalDependencies } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'))
  expect(dependencies).toBeUndefined()
  expect(Object.keys(optionalDependencies).sort()).toEqual(['better-sqlite3', 'better-sqlite3-node20', 'serialport'])
  for (const name of ['README.md', 'LICENSE', 'examples/machine.yaml']) expect(existsSync(join(folder, name)), name).toBe(true)
  const licences = readFileSync(join(folder, 'THIRD-PARTY-LICENSES'), 'utf8')
  for (const name of ['mqtt ', 'zod ', 'undici ', 'modbus-serial ']) expect(licences).toContain(`\n${name}`)

  const cli = join(prefix, 'bin/tidemark-agent')
  expect((await runToEnd(cli, ['--help'])).stdout).toContain('Usage: tidemark-agent')
  addSqlite(folder)
  loadEveryPart(join(folder, 'dist'))

  const dir = tempDir()
  const gateway = await startGateway(join(dir, 'data'))
  const config = join(dir, 'agent.yaml')
  writeFileSync(
    config,
    JSON.stringify({
      device_id: 'packed',
      gateway: { url: gateway.mqttUrl },
      profile: 'rotating-machine',
      buffer: { path: 'buffer.sqlite' },
      source: { type: 'simulated', readings: 20 },
      interval: '10ms'
    })
  )
  const agent = run(cli, ['start', '--once', '--config', config])
  expect([await agent.exit, agent.stderr()]).toEqual([0, ''])
  expect(await gateway.stop()).toBe(0)
  const rows = await query(gateway.dataDir, "SELECT count(*) AS n, max(seq) AS last FROM readings WHERE device_id = 'packed'")
  expect(rows.map(({ n, last }) => [Number(n), Number(last)])).toEqual([[20, 20]])
})
