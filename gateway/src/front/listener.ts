/**
 * Accepts connections up to a cap: at the cap it stops listening, so that the system or another front takes them, and listens again
 * when a few have gone. A connection counts until whoever took it says that it has ended.
 */
import { createServer, type Server } from 'node:net'
import { ClientSocket } from './client-socket.js'

/** Connections that the system may hold for us until we accept them. */
const BACKLOG = 16_384

/** Where listening again fails, it is tried again after this time, ms. */
const RETRY_MS = 1000

export class Listener {
  connections = 0
  /** Called when listening begins or ends. */
  onChange: (isListening: boolean) => void = () => {}
  /** Called when the system could not accept a connection; it goes on listening. */
  onError: (error: Error) => void = () => {}
  /** The server that listens; at the cap, and when it is closed, there is none. */
  private server: Server | null = null
  private address = { host: '', port: 0 }
  private isClosed = false
  private retry: NodeJS.Timeout | null = null

  constructor(
    private readonly connectionsMax: number,
    private readonly accept: (socket: ClientSocket) => void
  ) {}

  /** Resolves with the port. Rejects where it cannot listen. */
  async listen(host: string, port: number): Promise<number> {
    this.address = { host, port }
    this.address = { host, port: await this.open() }
    return this.address.port
  }

  get isListening(): boolean {
    return this.server?.listening === true
  }

  /** Accepts no more; those that are there stay. */
  close(): void {
    this.isClosed = true
    if (this.retry !== null) clearTimeout(this.retry)
    this.stop()
  }

  /** One of the accepted sockets is closed. */
  ended(): void {
    this.connections--
    this.openAgain()
  }

  private open(): Promise<number> {
    const server = createServer({ noDelay: true, pauseOnConnect: true }, accepted => this.take(new ClientSocket(accepted)))
    this.server = server
    return new Promise((resolve, reject) => {
      let hasListened = false
      server.on('error', error => {
        if (hasListened) {
          this.onError(error)
          return
        }
        if (this.server === server) this.server = null
        reject(error)
      })
      server.listen({ ...this.address, backlog: BACKLOG }, () => {
        hasListened = true
        const address = server.address()
        this.onChange(true)
        resolve(typeof address === 'object' && address !== null ? address.port : this.address.port)
      })
    })
  }

  private take(socket: ClientSocket): void {
    this.connections++
    if (this.connections >= this.connectionsMax) this.stop()
    this.accept(socket)
  }

  private stop(): void {
    if (this.server === null) return
    this.server.close()
    this.server = null
    this.onChange(false)
  }

  private openAgain(): void {
    const room = Math.ceil(this.connectionsMax / 100)
    if (this.isClosed || this.server !== null || this.retry !== null || this.connections > this.connectionsMax - room) return
    this.open().catch(() => {
      this.retry = setTimeout(() => {
        this.retry = null
        this.openAgain()
      }, RETRY_MS)
    })
  }
}
