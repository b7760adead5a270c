import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { pino } from 'pino'
import { expect, test } from 'vitest'
import { stringify } from 'yaml'
import { readConfig } from '../../agent/src/config.js'
import { RemoteConfig, type RemoteSettings } from '../../agent/src/remote-config.js'
import { temporaryFolder } from './kit.js'

async function configOf(changes: object) {
  const path = join(await temporaryFolder(), 'agent.yaml')
  const fixed = { device_id: 'press-1', log_level: 'silent', gateway: { url: 'mqtt://127.0.0.1:1' }, profile: 'rotating-machine' }
  await writeFile(path, stringify({ ...fixed, buffer: { path: 'b.sqlite' }, source: { type: 'simulated' }, ...changes }))
  return readConfig(path)
}

async function remoteWith(changes: object) {
  const applied: RemoteSettings[] = []
  const remote = new RemoteConfig(await configOf(changes), pino({ level: 'silent' }), {
    apply: all => applied.push(all),
    answered: () => {}
  })
  return { remote, applied, send: (config: object) => remote.receive(Buffer.from(JSON.stringify(config))) }
}

test('what the gateway set goes before a file that is read again; the rest is as that has it', async () => {
  const { remote, applied, send } = await remoteWith({ interval: '1s' })
  send({ revision: 3, interval: '5s' })
  remote.configure(await configOf({ interval: '2s', publish: { max_rate: '7/s' }, log_level: 'fatal' }))
  expect(applied.at(-1)).toMatchObject({ intervalMs: 5000, maxRate: { perSecond: 7 } })
  expect(remote.answer).toEqual({ revision: 3, refused: null })
})

test('a file in which it has no place takes it back, and the gateway is told; it holds again with one where it has', async () => {
  const { remote, applied, send } = await remoteWith({ interval: '1s' })
  send({ revision: 3, interval: '5s', max_rate: '9/s' })
  remote.configure(await configOf({ schedule: '*/5 * * * *' }))
  expect(applied.at(-1)).toMatchObject({ maxRate: null })
  expect(remote.answer).toEqual({ revision: 3, refused: expect.stringMatching(/on a schedule/) })
  remote.configure(await configOf({ interval: '1s' }))
  expect(applied.at(-1)).toMatchObject({ intervalMs: 5000 })
  expect(remote.answer).toEqual({ revision: 3, refused: null })
})

test('what turns out to be impossible gives way to what held before', async () => {
  const { remote, applied, send } = await remoteWith({ interval: '1s' })
  send({ revision: 3, interval: '5s' })
  send({ revision: 4, interval: '6s' })
  remote.withdraw('the sources take longer')
  expect(applied.map(({ intervalMs }) => intervalMs)).toEqual([5000, 6000, 5000])
  expect(remote.answer).toEqual({ revision: 4, refused: 'the sources take longer' })
})
