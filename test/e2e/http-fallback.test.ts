/** Agents whose MQTT does not get through deliver over HTTP, to a real gateway that dies meanwhile, and return to MQTT when that is back. */
import { writeFileSync } from 'node:fs'
import { connect, createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { readStatus } from '../../agent/src/status.js'
import { freePort } from '../kit/free-port.js'
import { CLI, QUICK, query, type Running, run, runToEnd, startGateway } from '../kit/processes.js'
import { tempDir } from '../kit/temp-dir.js'
import { until } from '../kit/until.js'

const READINGS = 6000

/** A way to the gateway's MQTT port: it takes connections and says nothing on them, until it is opened. */
class HangingProxy {
  /** Bytes from agents that went through. */
  passedBytes = 0
  private readonly sockets = new Set<Socket>()
  private toPort: number | null = null
  private readonly server = createServer(socket => this.accept(socket))

  constructor() {
    onTestFinished(() => {
      this.server.close()
      for (const socket of this.sockets) socket.destroy()
    })
  }

  listen(port: number): Promise<void> {
    return new Promise(resolve => this.server.listen(port, '127.0.0.1', resolve))
  }

  get held(): number {
    return this.sockets.size
  }

  /** Ends what hangs; what comes from now on goes to the port. */
  open(toPort: number): void {
    this.toPort = toPort
    for (const socket of this.sockets) socket.destroy()
  }

  private accept(socket: Socket): void {
    this.keep(socket)
    if (this.toPort === null) return
    const onward = connect(this.toPort, '127.0.0.1')
    this.keep(onward)
    socket.on('data', chunk => (this.passedBytes += chunk.length))
    socket.pipe(onward).pipe(socket)
    socket.on('close', () => onward.destroy())
    onward.on('close', () => socket.destroy())
  }

  private keep(socket: Socket): void {
    this.sockets.add(socket)
    socket.on('error', () => {}) // 'close' follows
    socket.on('close', () => this.sockets.delete(socket))
  }
}

interface Paths {
  readonly mqttPort: number
  readonly httpPort: number
  readonly tokenFile?: string
}

/** An agent that replays a recording: reading n shows n, in a second of its own. */
function startAgent(dir: string, id: string, { mqttPort, httpPort, tokenFile }: Paths) {
  const rows = Array.from({ length: READINGS }, (_, i) => `${new Date(Date.UTC(2026, 0, 1) + i * 1000).toISOString()},${(i + 1) / 1e4}`)
  writeFileSync(join(dir, `${id}.csv`), `time,value\n${rows.join('\n')}\n`)
  const buffer = join(dir, `${id}.sqlite`)
  const config = {
    device_id: id,
    gateway: {
      url: `mqtt://127.0.0.1:${mqttPort}`,
      http: `http://127.0.0.1:${httpPort}`,
      http_after: '100ms',
      ...(tokenFile !== undefined && { http_token_file: tokenFile })
    },
    profile: 'water-loop',
    buffer: { path: buffer },
    source: { type: 'csv', path: `${id}.csv`, time: { column: 'time' }, columns: { accelerometer_1_rms: 'value' } },
    publish: { batch_readings: 25, in_flight: 4, max_rate: '1000/s', backoff: { min: '20ms', max: '200ms' } }
  }
  const file = join(dir, `${id}.yaml`)
  writeFileSync(file, JSON.stringify(config))
  const agent = run(CLI.agent, ['start', '--config', file, '--once'])
  const settled = async (readings: number) => {
    await until(`${id} to have sampled`, () => agent.logLines().some(({ msg }) => msg === 'the source has ended'))
    await until(`${readings} readings of ${id} to be settled`, () => readStatus(buffer, 0).settled >= readings)
  }
  return { ...agent, id, settled }
}

const said = (agent: Running, msg: string) => agent.logLines().filter(line => line.msg === msg)

test('MQTT is refused or hangs: HTTP delivers through a kill of the gateway, MQTT takes over when it is back, and each reading is there once', async () => {
  const dir = tempDir()
  const dataDir = join(dir, 'data')
  const tokenFile = join(dir, 'token')
  writeFileSync(tokenFile, 'a token of nobody'.replaceAll(' ', '-'))
  const [httpPort, refusedPort, hangingPort] = [await freePort(), await freePort(), await freePort()]
  const config = { ...QUICK, http: { token_file: tokenFile } }
  const first = await startGateway(dataDir, config, { httpPort })
  const [forRefused, hanging] = [new HangingProxy(), new HangingProxy()]
  await hanging.listen(hangingPort)
  const agents = [
    startAgent(dir, 'refused', { mqttPort: refusedPort, httpPort, tokenFile }),
    startAgent(dir, 'hangs', { mqttPort: hangingPort, httpPort, tokenFile })
  ]
  await Promise.all(agents.map(({ settled }) => settled(1200)))
  expect(hanging.held).toBe(1)
  first.child.kill('SIGKILL')
  await first.exit
  const second = await startGateway(dataDir, config, { httpPort })
  await Promise.all(agents.map(({ settled }) => settled(3000)))
  for (const agent of agents) {
    expect(said(agent, 'connected')).toEqual([])
    expect(said(agent, 'cannot post').length).toBeGreaterThan(0) // while there was no gateway
  }

  forRefused.open(second.mqttPort)
  await forRefused.listen(refusedPort)
  hanging.open(second.mqttPort)
  expect(await Promise.all(agents.map(({ exit }) => exit))).toEqual([0, 0])
  for (const agent of agents) expect(said(agent, 'connected')).toHaveLength(1)
  for (const proxy of [forRefused, hanging]) expect(proxy.passedBytes).toBeGreaterThan(8000) // readings, not only a birth
  expect(await second.stop()).toBe(0)

  const rows = await query(
    dataDir,
    `SELECT device_id, count(*)::INT AS n, count(DISTINCT seq)::INT AS seqs, min(seq)::INT AS first, max(seq)::INT AS last,
            count_if(accelerometer_1_rms = seq / 1e4 AND epoch_ms(event_time) = ${Date.UTC(2026, 0, 1)} + (seq - 1) * 1000)::INT AS same
     FROM readings GROUP BY 1 ORDER BY 1 DESC`
  )
  const all = { n: READINGS, seqs: READINGS, first: 1, last: READINGS, same: READINGS }
  expect(rows).toEqual(agents.map(({ id }) => ({ device_id: id, ...all })))
  const ledger = await runToEnd(CLI.gateway, ['ledger', '--data-dir', dataDir, '--json'])
  expect(ledger.code, ledger.stdout + ledger.stderr).toBe(0)
  expect(await query(dataDir, 'SELECT count(*)::INT AS n FROM quarantine')).toEqual([{ n: 0 }])
}, 90_000)

test('without the token the gateway takes nothing, and the agent says what to correct and keeps its readings', async () => {
  const dir = tempDir()
  const gateway = await startGateway(join(dir, 'data'), QUICK, { env: { TIDEMARK_HTTP_TOKEN: 'a-token-of-nobody' } })
  const agent = startAgent(dir, 'locked-out', { mqttPort: await freePort(), httpPort: Number(new URL(gateway.httpUrl).port) })
  await until('the agent to be refused', () => said(agent, 'cannot post').length > 3)
  expect(said(agent, 'cannot post')[0].reason).toMatch(/answers 401: check gateway.http and gateway.http_token_file/)
  expect(agent.stdout()).not.toContain('halving')
  agent.child.kill('SIGTERM')
  await agent.exit
  expect(readStatus(join(dir, 'locked-out.sqlite'), 0)).toMatchObject({ settled: 0, buffered: READINGS, tombstones_to_declare: 0 })
}, 60_000)
