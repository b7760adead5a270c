/** What keeps a gateway from starting: one clear line, exit code 2. */
import { writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { CLI, runToEnd, startGateway } from '../kit/processes.js'
import { tempDir } from '../kit/temp-dir.js'

async function expectRefusal(args: readonly string[], ...words: string[]): Promise<void> {
  const { code, stderr } = await runToEnd(CLI.gateway, ['start', ...args])
  expect(stderr.trim().split('\n')).toHaveLength(1)
  for (const word of words) expect(stderr).toContain(word)
  expect(code).toBe(2)
}

const anywhere = ['--mqtt', '127.0.0.1:0', '--http', '127.0.0.1:0']

test('an unknown key is refused, and the nearest known one is named', async () => {
  const file = join(tempDir(), 'gateway.yaml')
  writeFileSync(file, 'flush: { intervall: 5s }\n')
  await expectRefusal(['--config', file], 'flush.intervall', 'did you mean "interval"')
})

test('a duration without a unit is refused', async () => {
  const file = join(tempDir(), 'gateway.yaml')
  writeFileSync(file, 'idle_timeout: "10"\n')
  await expectRefusal(['--config', file], 'idle_timeout', 'like 10m')
})

test.each([
  [['reprocess'], "required option '--from <hour>' not specified"],
  [['completeness', '--hours', '3'], 'Did you mean --hour?'],
  [['device', 'show'], "missing required argument 'id'"],
  [['compcat'], 'Did you mean compact?']
])('of any command a mistake on the command line is told in a few lines, with exit code 2: %j', async (args, words) => {
  const { code, stderr } = await runToEnd(CLI.gateway, args)
  expect(stderr).toContain(words)
  expect(stderr.trim().split('\n').length).toBeLessThan(4)
  expect(code).toBe(2)
})

test('a number of fronts that cannot be is refused', async () => {
  const file = join(tempDir(), 'gateway.yaml')
  writeFileSync(file, 'front: { processes: many }\n')
  await expectRefusal(['--config', file], 'front.processes', 'or auto')
})

test('a configuration that is not there is refused', async () => {
  await expectRefusal(['--config', '/nowhere/gateway.yaml'], '/nowhere/gateway.yaml')
})

test('a profile that contradicts itself is refused', async () => {
  const dir = tempDir()
  writeFileSync(join(dir, 'p.yaml'), 'name: pump\ninterval: 1s\nmetrics: [{ name: flow, min: 5, max: 1 }]\n')
  writeFileSync(join(dir, 'gateway.yaml'), 'profiles: [p.yaml]\n')
  await expectRefusal(['--config', join(dir, 'gateway.yaml')], 'p.yaml', 'min is above max')
})

test.each([1, 2])('a taken port is refused by %i fronts', async processes => {
  const file = join(tempDir(), 'gateway.yaml')
  writeFileSync(file, JSON.stringify({ front: { processes } }))
  const server = createServer().listen(0, '127.0.0.1')
  onTestFinished(() => {
    server.close()
  })
  await new Promise(resolve => server.once('listening', resolve))
  const { port } = server.address() as { port: number }
  await expectRefusal(
    ['--config', file, '--data-dir', join(tempDir(), 'data'), '--mqtt', `127.0.0.1:${port}`, '--http', '127.0.0.1:0'],
    String(port),
    'taken',
    '--mqtt'
  )
})

test('a folder that cannot be written is refused', async () => {
  await expectRefusal(['--data-dir', '/proc/tidemark', ...anywhere], '/proc/tidemark', '--data-dir')
})

test('a data folder that a running gateway holds is refused', async () => {
  const gateway = await startGateway(join(tempDir(), 'data'))
  await expectRefusal(['--data-dir', gateway.dataDir, ...anywhere], gateway.dataDir, 'running gateway')
})

test('a data folder is free again when its gateway was killed', async () => {
  const dataDir = join(tempDir(), 'data')
  const first = await startGateway(dataDir)
  first.child.kill('SIGKILL')
  await first.exit
  const second = await startGateway(dataDir)
  expect(await second.stop()).toBe(0)
})

test('listening beyond this machine needs --insecure', async () => {
  await expectRefusal(['--data-dir', join(tempDir(), 'data'), '--mqtt', '0.0.0.0:0'], '0.0.0.0', '--insecure')
})

test('HTTP beyond this machine needs a token, and with one commands still reach the gateway', async () => {
  const dir = tempDir()
  await expectRefusal(['--data-dir', join(dir, 'data'), '--mqtt', '127.0.0.1:0', '--http', '0.0.0.0:0'], '0.0.0.0', 'http.token_file')
  const tokenFile = join(dir, 'token')
  writeFileSync(tokenFile, 'a-token-of-this-test\n')
  const gateway = await startGateway(join(dir, 'data'), { http: { token_file: 'token' } }, { httpHost: '0.0.0.0' })
  const url = gateway.httpUrl.replace('0.0.0.0', '127.0.0.1')
  expect((await fetch(`${url}/healthz`)).status).toBe(200)
  expect((await fetch(`${url}/v1/devices`)).status).toBe(401)
  expect((await fetch(`${url}/v1/devices`, { headers: { authorization: 'Bearer a-token-of-this-test' } })).status).toBe(200)
  const list = ['device', 'list', '--data-dir', gateway.dataDir]
  expect(await runToEnd(CLI.gateway, list)).toMatchObject({ code: 0, stderr: '' })
  expect(await runToEnd(CLI.gateway, list, { env: { TIDEMARK_HTTP_TOKEN: 'not-the-right-token' } })).toMatchObject({
    code: 2,
    stderr: expect.stringContaining('TIDEMARK_HTTP_TOKEN')
  })
  expect(gateway.stdout()).not.toContain('a-token-of-this-test')
})

test('a log that was removed from under its archive is refused', async () => {
  const dataDir = join(tempDir(), 'data')
  const gateway = await startGateway(dataDir)
  await gateway.stop()
  for (const name of ['log.sqlite']) writeFileSync(join(dataDir, name), '')
  await expectRefusal(['--data-dir', dataDir, ...anywhere], 'log.sqlite', 'restore')
})

test('health, readiness and metrics are served', async () => {
  const gateway = await startGateway(join(tempDir(), 'data'))
  expect((await fetch(`${gateway.httpUrl}/healthz`)).status).toBe(200)
  expect((await fetch(`${gateway.httpUrl}/readyz`)).status).toBe(200)
  expect(await gateway.metric('tidemark_connections')).toBe(0)
  expect((await fetch(`${gateway.httpUrl}/nothing`)).status).toBe(404)
})
