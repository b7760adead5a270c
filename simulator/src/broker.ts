/** Which broker the fleet talks to, and what to say to the person when that fails. */
import { lookup } from 'node:dns/promises'
import { connect, isIPv4 } from 'node:net'
import { type BrokerAddress, BrokerRefusedError } from './connection.js'
import { DESTINATION_CONNECTIONS_MAX } from './limits.js'

/** The options cannot be used as they are: the message says what to write instead. */
export class UsageError extends Error {
  readonly code = 'USAGE'
}

/** Not even the first device could connect. */
export class BrokerUnreachableError extends Error {
  readonly code = 'BROKER_UNREACHABLE'
}

/** The process has run out of something that more devices would need. */
export class ResourceError extends Error {
  readonly code = 'RESOURCE'
}

/** The address that a URL like mqtt://127.0.0.1:1883 names, looked up once for all devices. Throws a UsageError. */
export async function resolveBroker(url: string): Promise<BrokerAddress> {
  const example = 'write it like mqtt://127.0.0.1:1883'
  if (!URL.canParse(url)) throw new UsageError(`"${url}" is no URL: ${example}`)
  const { protocol, hostname, port, username, password, pathname } = new URL(url)
  if (protocol !== 'mqtt:') throw new UsageError(`the simulator speaks mqtt:// only, not ${protocol}//: ${example}`)
  if (hostname === '') throw new UsageError(`"${url}" names no host: ${example}`)
  if (username !== '' || password !== '') throw new UsageError(`the simulator sends no credentials; leave them out of the URL: ${example}`)
  if (pathname !== '' && pathname !== '/') throw new UsageError(`"${url}" has a path, which MQTT does not know: ${example}`)
  try {
    const { address } = await lookup(hostname.replace(/^\[|\]$/g, ''))
    return { host: address, port: port === '' ? 1883 : Number(port) }
  } catch (cause) {
    throw new UsageError(`there is no host "${hostname}": check the URL ${url}`, { cause })
  }
}

/**
 * The addresses that a fleet's connections are spread over: those named, or, where the broker is on this machine and has more
 * connections than one address can take, 127.0.0.1, 127.0.0.2, … Throws a UsageError.
 */
export async function resolveDestinations(url: string, connections: number, named?: readonly string[]): Promise<BrokerAddress[]> {
  const address = await resolveBroker(url)
  if (named !== undefined) {
    for (const host of named) if (!isIPv4(host)) throw new UsageError(`the destination "${host}" is no IPv4 address, like 127.0.0.2`)
    return named.map(host => ({ host, port: address.port }))
  }
  const count = address.host === '127.0.0.1' ? Math.ceil(connections / DESTINATION_CONNECTIONS_MAX) : 1
  if (count > 250)
    throw new UsageError(`${connections} connections ask for more addresses than 127.0.0.1 to 127.0.0.250: name --destinations`)
  return Array.from({ length: count }, (_, i) => ({ host: count === 1 ? address.host : `127.0.0.${i + 1}`, port: address.port }))
}

/** Sees that all of several addresses answer. Rejects with a UsageError that names one that does not. */
export async function probeDestinations(addresses: readonly BrokerAddress[]): Promise<void> {
  if (addresses.length < 2) return
  for (const address of addresses) {
    const error = await new Promise<Error | null>(resolve => {
      const socket = connect(address, () => {
        socket.destroy()
        resolve(null)
      })
      socket.on('error', resolve)
    })
    if (error === null) continue
    const unreachable = address === addresses[0] ? fatalError(error, address, false) : null
    if (unreachable !== null) throw unreachable
    const where = `${address.host}:${address.port}`
    throw new UsageError(
      `so many connections need several addresses, and ${where} does not answer (${error.message}): have the broker listen on 0.0.0.0, or say --destinations`,
      { cause: error }
    )
  }
}

/** What a connection's failure means for the whole fleet; null: nothing, try again later. */
export function fatalError(cause: Error, address: BrokerAddress, hasEverOpened: boolean): Error | null {
  const code = 'code' in cause ? cause.code : undefined
  if (code === 'EMFILE' || code === 'ENFILE') {
    return new ResourceError(
      'this process may open no more sockets: raise `ulimit -n`, or run fewer devices in each of several processes',
      { cause }
    )
  }
  if (hasEverOpened) return null
  if (cause instanceof BrokerRefusedError) return cause
  const where = `${address.host}:${address.port}`
  return new BrokerUnreachableError(`no broker can be reached at ${where} (${cause.message}): start one, or correct --url`, { cause })
}
