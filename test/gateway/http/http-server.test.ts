/** What all routes share: the token, errors as JSON, and the description. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { HttpError } from '../../../gateway/src/http/http-error.js'
import { buildHttp, type HttpApp, type Routes } from '../../../gateway/src/http/http-server.js'
import { HttpTokenError, isAuthorized, readHttpToken } from '../../../gateway/src/http/http-token.js'
import { LogWriteError } from '../../../gateway/src/log/log-client.js'
import { PipelineBehindError } from '../../../gateway/src/pipeline/pipeline-client.js'
import { tempDir } from '../../kit/temp-dir.js'

const TOKEN = '0123456789abcdef-token'

const faults: Record<string, () => Error> = {
  busy: () => new HttpError(503, 'busy', 'later', 2),
  behind: () => new PipelineBehindError(),
  disk: () => new LogWriteError('/log', 'full'),
  ours: () => new Error('a mistake of ours')
}

const routes: Routes = app => {
  app.get('/healthz', {}, () => 'ok')
  app.get('/v1/thing', { schema: { querystring: z.object({ size: z.coerce.number().int().max(10) }) } }, () => ({ here: true }))
  app.post('/v1/thing', {}, () => ({ taken: true }))
  app.get('/v1/fault/:name', { schema: { params: z.object({ name: z.string() }) } }, ({ params: { name } }) => {
    throw faults[name]()
  })
}

const expectNone = (error: Error) => {
  throw error
}

async function ask(
  app: HttpApp,
  url: string,
  headers: Record<string, string> = {}
): Promise<{ status: number; retry: unknown; body: unknown }> {
  const { statusCode, headers: answered, body } = await app.inject({ url, headers })
  return { status: statusCode, retry: answered['retry-after'], body: body.startsWith('{') ? JSON.parse(body) : body }
}

describe('a request', () => {
  test('that is wrong is answered with a code and a message that names the field', async () => {
    const app = await buildHttp([routes], { token: null, onFault: expectNone })
    const wrong = await ask(app, '/v1/thing?size=11')
    expect(wrong).toMatchObject({ status: 400, body: { code: 'invalid-request', message: expect.stringContaining('size') } })
    expect(await ask(app, '/v1/nothing?token=secret')).toMatchObject({
      status: 404,
      body: { code: 'not-found', message: 'there is no GET /v1/nothing: /v1/openapi.json lists what there is' }
    })
    const { statusCode, body } = await app.inject({ method: 'POST', url: '/v1/thing', headers: { 'content-type': 'text/csv' }, body: 'a' })
    expect([statusCode, JSON.parse(body).code]).toEqual([415, 'invalid-request'])
  })

  test('that cannot be answered just now says when to ask again; a mistake of ours is logged, not told', async () => {
    const logged: string[] = []
    const app = await buildHttp([routes], { token: null, onFault: ({ message }) => logged.push(message) })
    expect(await ask(app, '/v1/fault/busy')).toEqual({ status: 503, retry: '2', body: { code: 'busy', message: 'later' } })
    expect(await ask(app, '/v1/fault/behind')).toMatchObject({ status: 503, retry: '5', body: { code: 'behind' } })
    expect(await ask(app, '/v1/fault/disk')).toMatchObject({ status: 503, retry: '5', body: { code: 'log-unwritable' } })
    expect(await ask(app, '/v1/fault/ours')).toMatchObject({
      status: 500,
      retry: undefined,
      body: { code: 'internal', message: expect.not.stringContaining('mistake') }
    })
    expect(logged).toEqual(['a mistake of ours'])
  })

  test('needs the token where there is one, save to see that the gateway lives', async () => {
    const app = await buildHttp([routes], { token: TOKEN, onFault: expectNone })
    const bearing = (token: string) => ask(app, '/v1/thing?size=1', { authorization: `Bearer ${token}` })
    expect(await bearing(TOKEN)).toMatchObject({ status: 200 })
    for (const wrong of ['', `${TOKEN}x`, TOKEN.slice(1), 'ÿ'])
      expect(await bearing(wrong)).toMatchObject({
        status: 401,
        body: { code: 'unauthorized', message: expect.not.stringContaining(TOKEN) }
      })
    for (const url of ['/v1/thing?size=99', '/v1/openapi.json', '/v1/nothing']) expect((await ask(app, url)).status, url).toBe(401)
    expect((await ask(app, '/healthz')).status).toBe(200)
  })
})

describe('the token', () => {
  test('is read from the environment, else from the file, else there is none', () => {
    const file = join(tempDir(), 'token')
    writeFileSync(file, `${TOKEN}\n`)
    expect(readHttpToken(file, undefined)).toBe(TOKEN)
    expect(readHttpToken(file, 'another-token-of-16')).toBe('another-token-of-16')
    expect(readHttpToken(null, '')).toBeNull()
  })

  test('that is too short, or not there, is refused without being shown', () => {
    const file = join(tempDir(), 'token')
    writeFileSync(file, 'hunter2')
    expect(() => readHttpToken(file, undefined)).toThrow(HttpTokenError)
    expect(() => readHttpToken(file, undefined)).toThrow(expect.objectContaining({ message: expect.not.stringContaining('hunter2') }))
    expect(() => readHttpToken(null, 'with space in the middle')).toThrow('TIDEMARK_HTTP_TOKEN')
    expect(() => readHttpToken(join(file, 'none'), undefined)).toThrow('openssl rand')
  })

  test('is taken in whatever case the scheme is written, and under no other scheme', () => {
    expect(isAuthorized(`bearer ${TOKEN}`, TOKEN)).toBe(true)
    expect(isAuthorized(`Basic ${TOKEN}`, TOKEN)).toBe(false)
    expect(isAuthorized(undefined, TOKEN)).toBe(false)
  })
})
