/** Scenarios: what a person may write, and what they are told when it is wrong. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { UsageError } from '../../load/src/replay/replay-error.js'
import { gatewayConfig } from '../../load/src/run/gateway-config.js'
import { readScenario, scenarioNames } from '../../load/src/run/scenario.js'

function fileWith(yaml: string): string {
  const dir = mkdtempSync(join(tmpdir(), 'tidemark-scenario-'))
  onTestFinished(() => rmSync(dir, { recursive: true, force: true }))
  const path = join(dir, 'mine.yaml')
  writeFileSync(path, yaml)
  return path
}

test('all scenarios of the folder can be read, by name', () => {
  expect(scenarioNames()).toEqual(expect.arrayContaining(['steady-100k', 'steady-10k', 'ramp', 'reconnect-storm', 'backlog-flood']))
  expect(scenarioNames()).toEqual(expect.arrayContaining(['dirty', 'batched', 'soak', 'small']))
  for (const name of scenarioNames()) expect(readScenario(name).about.length, name).toBeGreaterThan(10)
})

test('a scenario can be any file, and the command line stands over it', () => {
  const path = fileWith('about: mine\nfleet: { devices: 100, for: 1m, backlog: { devices: 10, length: 1h, at: 5s } }\n')
  expect(readScenario(path)).toMatchObject({ name: 'mine', fleet: { devices: 100, for: 60_000, interval: 5000 } })
  const changed = readScenario(path, { devices: 1000, forMs: 7000, seed: 9 })
  expect(changed.fleet).toMatchObject({ devices: 1000, for: 7000, seed: 9, backlog: { devices: 100 } })
})

test.each([
  ['fleet: { devices: 1, for: 1m }', /about/],
  ['about: x\nfleet: { devices: 1, for: 1m, intervall: 5s }', /unknown key "fleet\.intervall"; did you mean "interval"\?/],
  ['about: x\nfleet: { devices: 1, for: 1m, faults: { duplicate: 0.1 } }', /did you mean "duplicates"\?/],
  ['about: x\nfleet: { devices: 1, for: 1m, faults: { late: 2 } }', /fleet\.faults\.late/],
  ['about: x\nfleet: { devices: 1, for: soon }', /fleet\.for: write a number and/],
  ['about: x\nfleet: { devices: 1, for: 1m }\nkill: [2m]', /kills the gateway 120 s after the start/],
  ['about: [', /mine\.yaml/]
])('what is wrong in %j is named', (yaml, message) => {
  expect(() => readScenario(fileWith(yaml))).toThrow(UsageError)
  expect(() => readScenario(fileWith(yaml))).toThrow(message)
})

test('a scenario that is not there is answered with those that are', () => {
  expect(() => readScenario('stedy')).toThrow(/there is no scenario stedy: give a file, or one of .*steady-10k/)
})

test("a scenario's gateway section stands over the runner's, key by key", () => {
  expect(gatewayConfig({ flush: { interval: '3s' } })).toEqual({ compaction: { after: '48h' }, flush: { interval: '3s' } })
  expect(gatewayConfig({ compaction: { keep: '1m' } })).toEqual({ compaction: { after: '48h', keep: '1m' } })
  expect(gatewayConfig({ mqtt: { listen: 'x:1' } }, true)).toMatchObject({ mqtt: { listen: 'x:1', relays: ['sim-relay-*'] } })
  expect(gatewayConfig({ compaction: { after: '30m' } })).toEqual({ compaction: { after: '30m' } })
})
