import { once } from 'node:events'
import { createServer, type RequestListener, type ServerResponse } from 'node:http'
import { describe, expect, onTestFinished, test } from 'vitest'
import { openHttp } from '../../../agent/src/sources/http.js'
import type { LiveSource } from '../../../agent/src/sources/source.js'
import { measureOnce, never, profileOf, until } from '../kit.js'

const plain = { scale: 1, offset: 0 }
const METRICS = {
  temperature: { path: 'sensors[0].value', ...plain },
  pressure: { path: 'loop.pressure.kPa', scale: 0.01, offset: 0 },
  running: { path: 'state.running', ...plain }
}
const PROFILE = profileOf('temperature', 'pressure', { name: 'running', type: 'bool' })

async function serve(listener: RequestListener): Promise<string> {
  const server = createServer(listener)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(async () => {
    server.closeAllConnections()
    await new Promise(resolve => server.close(resolve))
  })
  const address = server.address()
  return `127.0.0.1:${typeof address === 'object' && address !== null ? address.port : 0}`
}

function open(host: string, changes: Partial<Parameters<typeof openHttp>[0]> = {}): LiveSource {
  const source = openHttp({ url: `http://${host}/status`, headers: {}, metrics: METRICS, ...changes }, PROFILE)
  onTestFinished(() => source.close())
  return source
}

describe('the http source', () => {
  test('takes values out of JSON by their paths', async () => {
    const host = await serve((_, response) =>
      response.end('{"sensors":[{"value":21.5}],"loop":{"pressure":{"kPa":350}},"state":{"running":true}}')
    )
    expect(await measureOnce(open(host))).toEqual({ values: { temperature: 21.5, pressure: 3.5, running: true }, problems: [] })
  })

  test('takes a bare number where no path is given', async () => {
    const host = await serve((_, response) => response.end('42.5\n'))
    expect((await measureOnce(open(host, { metrics: { temperature: plain } }))).values).toEqual({ temperature: 42.5 })
  })

  test('sends its headers and its user and password, and tells nobody else', async () => {
    const seen: (string | undefined)[] = []
    const host = await serve((request, response) => {
      seen.push(request.headers.authorization, String(request.headers['x-key']), request.url)
      response.writeHead(403).end()
    })
    const source = open(host, { url: `http://me:s%C3%A9same@${host}/status?token=secret`, headers: { 'x-key': 'hush' } })
    const error = await source.measure(never()).catch(String)
    expect(seen).toEqual([`Basic ${Buffer.from('me:sésame').toString('base64')}`, 'hush', '/status?token=secret'])
    expect(error).toBe(`Error: http://${host}: the server answers 403`)
    expect(source.key).toBe(`http:${host}/status`)
  })

  test.each([
    ['is no JSON', 'temperature: "<html>" is no JSON', (response: ServerResponse) => response.end('<html>')],
    ['lacks a value', 'temperature: there is no sensors[0].value', (response: ServerResponse) => response.end('{"sensors":[]}')]
  ])('gives null where the answer %s', async (_, problem, answer) => {
    const host = await serve((_request, response) => answer(response))
    expect((await measureOnce(open(host))).problems).toContain(problem)
  })

  test('takes no answer without an end', async () => {
    const host = await serve((_, response) => {
      const more = () => {
        while (!response.destroyed && response.write('x'.repeat(65_536)));
      }
      response.on('drain', more)
      more()
    })
    await expect(open(host).measure(never())).rejects.toThrow(/the answer is larger than 1048576 bytes/)
  })

  test('follows no redirect', async () => {
    const host = await serve((_, response) => response.writeHead(302, { location: 'http://127.0.0.1:1/' }).end())
    await expect(open(host).measure(never())).rejects.toThrow(/the server answers 302/)
  })

  test.each(['before the headers', 'within the body'])('gives up a server that hangs %s, and can be asked again', async where => {
    let isHanging = true
    const asked: ServerResponse[] = []
    const host = await serve((_, response) => {
      asked.push(response)
      if (!isHanging) response.end('{"sensors":[{"value":1}]}')
      else if (where === 'within the body') response.write('{"sensors":')
    })
    const source = open(host)
    const limit = new AbortController()
    const measuring = source.measure(limit.signal)
    await until(() => asked.length === 1)
    limit.abort()
    await expect(measuring).rejects.toThrow(/no answer in time/)
    isHanging = false
    expect((await measureOnce(source)).values).toEqual({ temperature: 1 })
  })

  test('says so where nothing listens', async () => {
    await expect(open('127.0.0.1:1').measure(never())).rejects.toThrow('http://127.0.0.1:1: nothing listens there')
  })
})
