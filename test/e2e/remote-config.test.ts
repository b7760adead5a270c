/** What people set of an agent's configuration reaches it, wherever and however it is connected, and its answer is shown. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { connectAsync } from 'mqtt'
import { describe, expect, test } from 'vitest'
import { CLI, QUICK, type RunningGateway, run, runToEnd, startGateway } from '../kit/processes.js'
import { tempDir } from '../kit/temp-dir.js'
import { until } from '../kit/until.js'

interface Shown {
  readonly config: { revision: number; settings: Record<string, string>; state: string; refused: string | null } | null
}

/** Runs `device` over a data folder, and expects it to end well. */
async function device(dataDir: string, ...args: readonly string[]): Promise<string> {
  const { code, stdout, stderr } = await runToEnd(CLI.gateway, ['device', ...args, '--data-dir', dataDir])
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  return stdout
}

const set = (dataDir: string, id: string, ...args: readonly string[]) => device(dataDir, 'set', id, ...args)

async function config(dataDir: string, id: string): Promise<Shown['config']> {
  return (JSON.parse(await device(dataDir, 'show', id, '--json')) as Shown).config
}

function startAgent(dir: string, id: string, url: string, changes: object = {}) {
  const file = join(dir, `${id}.yaml`)
  const buffer = { path: join(dir, `${id}.sqlite`) }
  const publish = { backoff: { min: '20ms', max: '100ms' } }
  const source = { type: 'simulated' }
  const profile = 'rotating-machine'
  writeFileSync(file, JSON.stringify({ device_id: id, gateway: { url }, profile, source, interval: '1s', buffer, publish, ...changes }))
  return run(CLI.agent, ['start', '--config', file])
}

/** A client that is the device, and what it hears on its config topic. */
async function listen({ mqttUrl }: RunningGateway, id: string) {
  const client = await connectAsync(mqttUrl, { clientId: id, reconnectPeriod: 0 })
  const heard: string[] = []
  client.on('message', (topic, payload) => heard.push(`${topic} ${payload}`))
  await client.subscribeAsync(`tm/1/${id}/config`, { qos: 1 })
  return { client, heard }
}

const awaitState = ({ httpUrl }: RunningGateway, id: string, state: string, revision: number) =>
  until(`revision ${revision} of ${id} to be ${state}`, async () => {
    const shown = ((await (await fetch(`${httpUrl}/v1/devices/${id}`)).json()) as Shown).config
    return shown?.state === state && shown.revision === revision ? shown : null
  })

describe.each([
  ['light sessions', {}],
  ['aedes', { front: { light_sessions: false } }],
  ['fronts in processes of their own', { front: { processes: 2 } }]
])('over %s', (_how, front) => {
  test('an agent takes a configuration while it is connected and when it comes, and says so', async () => {
    const dir = tempDir()
    const dataDir = join(dir, 'data')
    const gateway = await startGateway(dataDir, { ...QUICK, ...front })
    await set(dataDir, 'pump-7', '--interval', '50ms', '--log-level', 'debug')
    expect(await config(dataDir, 'pump-7')).toMatchObject({ revision: 1, state: 'pending' })
    const agent = startAgent(dir, 'pump-7', gateway.mqttUrl)
    await awaitState(gateway, 'pump-7', 'applied', 1)
    expect(agent.logLines()).toContainEqual(expect.objectContaining({ msg: 'configured by the gateway', interval: '50ms', revision: 1 }))
    await set(dataDir, 'pump-7', '--max-rate', '500/s')
    expect(await awaitState(gateway, 'pump-7', 'applied', 2)).toEqual({
      revision: 2,
      settings: { interval: '50ms', log_level: 'debug', max_rate: '500/s' },
      state: 'applied',
      refused: null
    })
    await set(dataDir, 'pump-7', '--commit-interval', '5s')
    const { refused } = await awaitState(gateway, 'pump-7', 'refused', 3)
    expect(refused).toContain('strict')
    expect(await device(dataDir, 'show', 'pump-7')).toMatch(/configured +revision 3 refused: commit_interval/)
    expect(await device(dataDir, 'list')).toMatch(/pump-7.*revision 3 refused/)
    await set(dataDir, 'pump-7', '--reset-config')
    expect(await awaitState(gateway, 'pump-7', 'applied', 4)).toMatchObject({ settings: {} })
  }, 90_000)
})

test('a configuration and its revision outlive a kill, and what is set while no gateway runs goes out with the next start', async () => {
  const dir = tempDir()
  const dataDir = join(dir, 'data')
  const first = await startGateway(dataDir)
  const { mqttPort } = first
  startAgent(dir, 'pump-7', first.mqttUrl)
  await set(dataDir, 'pump-7', '--interval', '50ms')
  await awaitState(first, 'pump-7', 'applied', 1)
  first.child.kill('SIGKILL')
  await first.exit
  expect(await set(dataDir, 'pump-7', '--max-rate', '100/s')).toContain('next start')
  expect(await config(dataDir, 'pump-7')).toMatchObject({
    revision: 2,
    settings: { interval: '50ms', max_rate: '100/s' },
    state: 'pending'
  })
  const second = await startGateway(dataDir, QUICK, { mqttPort })
  await awaitState(second, 'pump-7', 'applied', 2)
  await set(dataDir, 'pump-8', '--interval', '60ms')
  expect(await second.stop()).toBe(0)
  const third = await startGateway(dataDir, QUICK, { mqttPort }) // from a snapshot that holds all: nothing is left in the log to tell it
  const { client, heard } = await listen(third, 'pump-8')
  await until('the configuration', () => heard.length > 0)
  expect(heard).toEqual(['tm/1/pump-8/config {"revision":1,"interval":"60ms"}'])
  await client.endAsync()
  await set(dataDir, 'pump-7', '--reset-config', '--log-level', 'warn')
  expect(await awaitState(third, 'pump-7', 'applied', 3)).toMatchObject({ settings: { log_level: 'warn' } })
}, 90_000)

test('a retired device gets no configuration until it is retired no longer', async () => {
  const dir = tempDir()
  const dataDir = join(dir, 'data')
  const gateway = await startGateway(dataDir)
  await set(dataDir, 'pump-7', '--retired', '--interval', '50ms')
  expect(await config(dataDir, 'pump-7')).toMatchObject({ state: 'withheld' })
  const { client, heard } = await listen(gateway, 'pump-7')
  await set(dataDir, 'pump-7', '--interval', '60ms')
  await set(dataDir, 'pump-7', '--no-retired')
  await until('the configuration', () => heard.length > 0)
  expect(heard).toEqual(['tm/1/pump-7/config {"revision":2,"interval":"60ms"}'])
  await client.endAsync()
}, 60_000)

test('what no agent could apply is refused before it is set, in one line', async () => {
  const dataDir = join(tempDir(), 'data')
  await (await startGateway(dataDir)).stop()
  for (const [option, value, words] of [
    ['--interval', 'often', 'like 5s'],
    ['--commit-interval', '1ms', 'between'],
    ['--max-rate', '0/s', 'like 500/s'],
    ['--log-level', 'loud', 'debug']
  ] as const) {
    const { code, stderr } = await runToEnd(CLI.gateway, ['device', 'set', 'pump-7', option, value, '--data-dir', dataDir])
    expect(code).toBe(2)
    expect(stderr).toMatch(new RegExp(`${option}: `))
    expect(stderr).toContain(words)
    expect(stderr.trim().split('\n')).toHaveLength(1)
  }
  expect(await device(dataDir, 'list')).toContain('(0 devices)')
})
