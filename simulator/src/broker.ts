/** Which broker the fleet talks to, and what to say to the person when that fails. */
import { lookup } from 'node:dns/promises'
import { type BrokerAddress, BrokerRefusedError } from './connection.js'

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
