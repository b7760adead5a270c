/** When the agent connects again, and where: what the link makes of the backoff (core/decisions.test.ts) and of several addresses. */
import { BUILT_IN_PROFILES } from '@tidemark/protocol'
import { pino } from 'pino'
import { expect, onTestFinished, test } from 'vitest'
import { GatewayLink } from '../../agent/src/gateway-link.js'
import { freePort } from '../kit/free-port.js'
import { TestBroker, until } from './kit.js'

interface Line {
  readonly msg: string
  readonly retry_ms?: number
  readonly gateway?: string
}

/** A link whose delays are their caps, and what it logs. */
function linkTo(mqttUrls: readonly string[], httpUrl: string | null = null) {
  const lines: Line[] = []
  const link = new GatewayLink(
    {
      connection: {
        deviceId: 'pump-7',
        self: () => ({ epoch: 1, config: null, problem: null }),
        agentVersion: 'test',
        profiles: [BUILT_IN_PROFILES[0]],
        clock: { connected: () => {}, disconnected: () => {}, heard: () => {} }
      },
      gateway: { mqttUrls, httpUrl, httpToken: null, httpAfterMs: 3_600_000 },
      backoff: { minMs: 8, maxMs: 40 },
      log: pino({ level: 'info' }, { write: line => lines.push(JSON.parse(line)) }),
      random: () => 1 - Number.EPSILON
    },
    { up: () => {}, down: () => {}, failed: () => {}, told: () => {}, configured: () => {} }
  )
  onTestFinished(() => link.leave())
  link.start()
  return {
    link,
    delays: () => lines.flatMap(({ retry_ms }) => (retry_ms === undefined ? [] : [retry_ms])),
    said: (text: string) => lines.filter(({ msg }) => msg.includes(text)).length,
    connectedTo: () => lines.flatMap(({ msg, gateway }) => (msg === 'connected' ? [gateway] : []))
  }
}

const nobody = async () => `mqtt://127.0.0.1:${await freePort()}`

test('each delay is twice as long as the last, up to the longest, and short again once something was acked', async () => {
  const broker = await TestBroker.start()
  const { link, delays, connectedTo } = linkTo([broker.url])
  await until(() => connectedTo().length === 1)
  await broker.stop()
  await until(() => delays().length === 5)
  expect(delays()).toEqual([8, 16, 32, 40, 40])
  await broker.restart()
  await until(() => connectedTo().length === 2)
  link.succeeded()
  const failed = delays().length
  await broker.stop()
  await until(() => delays().length === failed + 2)
  expect(delays().slice(failed)).toEqual([8, 16])
})

test('a delay grows with each round over the addresses, and after a good connection the first is tried first again', async () => {
  const [first, second] = [await TestBroker.start(), await TestBroker.start()]
  await first.stop()
  const { link, delays, connectedTo } = linkTo([first.url, await nobody(), second.url])
  await until(() => connectedTo().length === 1)
  expect(connectedTo()).toEqual([second.url])
  expect(delays()).toEqual([8, 8])
  link.succeeded()
  await first.restart()
  second.dropConnections() // and would take the next
  await until(() => connectedTo().length === 2)
  expect(connectedTo()[1]).toBe(first.url)
})

test('a gateway that connects and never acks makes way for the next, and for HTTP at once', async () => {
  const [silent, second] = [await TestBroker.start(), await TestBroker.start()]
  const { link, connectedTo, said } = linkTo([silent.url, second.url], `http://127.0.0.1:${await freePort()}`)
  await until(() => connectedTo().length === 1)
  link.succeeded()
  link.drop('no PUBACK')
  await until(() => connectedTo().length === 2)
  expect(connectedTo()).toEqual([silent.url, second.url])
  const posted = said('posting batches over HTTP') // on a slow machine: while the second was not there yet
  await second.stop()
  await silent.stop()
  await until(() => !link.isLive)
  expect(said('posting batches over HTTP')).toBe(posted) // that was lost as any may be
  await silent.restart()
  await until(() => connectedTo().length === 3)
  link.drop('no PUBACK')
  await silent.stop()
  await until(() => said('posting batches over HTTP') > posted)
})
