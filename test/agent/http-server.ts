/** A small real HTTP server in the place of a gateway's, which keeps the batches that it is posted. */
import { createServer, type IncomingMessage } from 'node:http'
import { type Batch, BUILT_IN_PROFILES, decodeBatch } from '@tidemark/protocol'
import { onTestFinished } from 'vitest'

export interface Posted {
  readonly device: string
  readonly contentType: string
  readonly authorization: string | null
  readonly batch: Batch
}

export interface Answer {
  readonly status: number
  readonly retryAfter?: string
}

export class TestHttpServer {
  readonly posted: Posted[] = []
  url = ''
  judge: (batch: Batch) => Answer = () => ({ status: 204 })

  static async start(): Promise<TestHttpServer> {
    const test = new TestHttpServer()
    const server = createServer((request, response) => {
      test.take(request).then(({ status, retryAfter }) => {
        response.writeHead(status, retryAfter === undefined ? {} : { 'retry-after': retryAfter })
        response.end()
      })
    })
    await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
    const address = server.address()
    test.url = `http://127.0.0.1:${typeof address === 'object' && address !== null ? address.port : 0}`
    onTestFinished(() => {
      server.closeAllConnections()
      server.close()
    })
    return test
  }

  /** Seqs of what was answered with 204, in their order. */
  get seqs(): number[] {
    return this.posted.flatMap(({ batch }) => [...batch.header.seqs])
  }

  private async take(request: IncomingMessage): Promise<Answer> {
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk)
    if (request.method !== 'POST' || request.url !== '/v1/batches') return { status: 404 }
    const batch = decodeBatch(Buffer.concat(chunks), name => BUILT_IN_PROFILES.find(profile => profile.name === name) ?? 'unknown-profile')
    if (batch === null) return { status: 400 }
    const answer = this.judge(batch)
    if (answer.status === 204) {
      const { 'x-tidemark-device': device, 'content-type': contentType = '', authorization = null } = request.headers
      this.posted.push({ device: String(device), contentType, authorization, batch })
    }
    return answer
  }
}
