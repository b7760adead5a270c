/** Reads what `strace -f -yy -xx` has written: system calls in order, with the paths of their descriptors and their data. */

import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import mqttPacket, { type Packet } from 'mqtt-packet'

export interface SystemCall {
  readonly name: string
  /** Path or socket of the first descriptor; for `rename` the source. */
  readonly path: string
  /** For `rename`: the target. */
  readonly target: string
  /** All strings of the call in one: what was read or written. */
  readonly data: Buffer
  /** Places in the trace where the call began and where it had returned. */
  readonly begin: number
  readonly end: number
}

/** Long enough for a page of SQLite and for any packet of these tests. */
const STRING_BYTES_MAX = 8192

export const hasStrace = spawnSync('strace', ['--version']).status === 0

/** The words before a command that let it run under strace, with the trace in `file`. */
export function straceTo(file: string): string[] {
  const calls = 'fsync,fdatasync,pwrite64,write,writev,sendto,read,recvfrom,rename,renameat,renameat2'
  return ['strace', '-f', '-yy', '-xx', '-s', String(STRING_BYTES_MAX), '-e', `trace=${calls}`, '-o', file]
}

export function readTrace(file: string): SystemCall[] {
  const calls: SystemCall[] = []
  const unfinished = new Map<string, { text: string; begin: number }>()
  for (const [place, line] of readFileSync(file, 'latin1').split('\n').entries()) {
    const [, pid, text] = /^(\d+)\s+(.*)$/.exec(line) ?? []
    if (text === undefined || text.startsWith('+++') || text.startsWith('---')) continue
    if (text.endsWith('<unfinished ...>')) {
      unfinished.set(pid, { text: text.slice(0, -'<unfinished ...>'.length), begin: place })
      continue
    }
    const resumed = /^<\.\.\. \w+ resumed>(.*)$/.exec(text)
    const start = resumed ? unfinished.get(pid) : undefined
    if (resumed && start === undefined) continue
    calls.push(parseCall(start === undefined ? text : start.text + resumed![1], start?.begin ?? place, place))
  }
  return calls
}

/** The MQTT packets in a direction of the traced process' sockets, each with the place of the call that read or wrote its last byte. */
export function packetsOf(calls: readonly SystemCall[], direction: 'in' | 'out'): { packet: Packet; call: SystemCall }[] {
  const names = direction === 'in' ? ['read', 'recvfrom'] : ['write', 'writev', 'sendto']
  const packets: { packet: Packet; call: SystemCall }[] = []
  const parsers = new Map<string, mqttPacket.Parser>()
  let current: SystemCall
  for (const call of calls) {
    if (!names.includes(call.name) || !call.path.startsWith('TCP') || call.data.length === 0) continue
    let parser = parsers.get(call.path)
    if (parser === undefined) {
      parser = mqttPacket.parser()
      parser.on('packet', packet => packets.push({ packet, call: current }))
      parser.on('error', () => {}) // HTTP, or another socket that speaks no MQTT
      parsers.set(call.path, parser)
    }
    current = call
    parser.parse(call.data)
  }
  return packets
}

function parseCall(text: string, begin: number, end: number): SystemCall {
  const name = text.slice(0, text.indexOf('('))
  const strings = [...text.matchAll(/"((?:\\x[0-9a-f]{2})*)"/g)].map(match => fromHex(match[1]))
  const descriptor = /\((?:\d+)<((?:[^<>]|->|\\x[0-9a-f]{2})*)>/.exec(text)?.[1] ?? ''
  const isRename = name.startsWith('rename')
  return {
    name,
    path: isRename ? strings[0].toString() : descriptor.startsWith('\\x') ? fromHex(descriptor).toString() : descriptor,
    target: isRename ? strings[1].toString() : '',
    data: isRename ? Buffer.alloc(0) : Buffer.concat(strings),
    begin,
    end
  }
}

function fromHex(escaped: string): Buffer {
  return Buffer.from(escaped.replaceAll('\\x', ''), 'hex')
}
