/** The agent's tarball: it installs by itself, holds nothing of the gateway, and delivers. */
import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { expect, test } from 'vitest'
import { installAgent } from '../../load/src/agent-package/install.js'
import { query, run, runToEnd, startGateway } from '../kit/processes.js'
import { tempDir } from '../kit/temp-dir.js'

/** Those that are loaded late, too. */
function loadEveryPart(dist: string): void {
  const parts = readdirSync(dist).filter(name => name !== 'cli.js')
  expect(parts.length).toBeGreaterThan(10)
  const script = parts.map(name => `await import(${JSON.stringify(pathToFileURL(join(dist, name)).href)})`).join('\n')
  expect(execFileSync(process.execPath, ['--input-type=module', '--eval', script], { encoding: 'utf8' })).toBe('')
}

test('installed from its tarball alone, the agent delivers readings to the archive', async () => {
  const installedIn = tempDir()
  const { cli, folder } = await installAgent(installedIn)
  expect(readdirSync(installedIn).filter(name => /^tidemark-agent-\d+\.\d+\.\d+\.tgz$/.test(name))).toHaveLength(1)
  expect(readdirSync(join(folder, '../..'))).toEqual(['@tidemark'])
  expect(readdirSync(join(folder, '..'))).toEqual(['agent'])
  const added = readdirSync(join(folder, 'node_modules')).filter(name => !name.startsWith('better-sqlite3'))
  expect(added).toEqual([])
  const { dependencies, optionalDependencies } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'))
  expect(dependencies).toBeUndefined()
  expect(Object.keys(optionalDependencies).sort()).toEqual(['better-sqlite3', 'better-sqlite3-node20', 'serialport'])
  for (const name of ['README.md', 'LICENSE', 'examples/machine.yaml']) expect(existsSync(join(folder, name)), name).toBe(true)
  const licences = readFileSync(join(folder, 'THIRD-PARTY-LICENSES'), 'utf8')
  for (const name of ['mqtt ', 'zod ', 'undici ', 'modbus-serial ']) expect(licences).toContain(`\n${name}`)

  expect((await runToEnd(cli, ['--help'])).stdout).toContain('Usage: tidemark-agent')
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
