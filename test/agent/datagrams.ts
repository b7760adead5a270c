/** A datagram socket as systemd listens on, which Node cannot make: python3 prints what it receives, a JSON string a line. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { onTestFinished } from 'vitest'
import { temporaryFolder, until } from './kit.js'

const RECEIVER = `
import json, socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1])
while True:
    print(json.dumps(s.recv(65536).decode()), flush=True)
`

export interface Datagrams {
  readonly path: string
  /** What was received, each with its variables; systemd-notify's barriers are left out. */
  readonly received: () => Record<string, string>[]
}

export async function receiveDatagrams(): Promise<Datagrams> {
  const path = join(await temporaryFolder(), 'notify')
  const child = spawn('python3', ['-c', RECEIVER, path], { stdio: ['ignore', 'pipe', 'inherit'] })
  const closed = once(child, 'close')
  onTestFinished(async () => {
    child.kill('SIGKILL')
    await closed
  })
  let output = ''
  child.stdout.on('data', chunk => {
    output += chunk
  })
  await until(() => existsSync(path))
  const received = () =>
    output
      .split('\n')
      .slice(0, -1)
      .map(line => variables(JSON.parse(line)))
      .filter(message => !('BARRIER' in message))
  return { path, received }
}

function variables(message: string): Record<string, string> {
  return Object.fromEntries(
    message
      .split('\n')
      .filter(Boolean)
      .map(line => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)])
  )
}
