import type { Command } from 'commander'
import { pino } from 'pino'
import { type Config, ConfigError, isLoopback, loadConfig, type Overrides } from '../config.js'
import { startGateway } from '../gateway.js'
import { settleHeaps } from '../heaps.js'
import { TOKEN_VARIABLE } from '../http/http-token.js'
import { ingestClock } from '../log/ingest-clock.js'

interface StartOptions extends Overrides {
  readonly config?: string
  readonly insecure?: boolean
}

export function addStartCommand(program: Command): void {
  program
    .command('start')
    .description('take readings in over MQTT, and write the archive and the features, until Ctrl-C')
    .option('-c, --config <file>', 'YAML configuration; without one, the defaults')
    .option('-d, --data-dir <dir>', 'where log, archive and snapshots are (over data_dir)')
    .option('--mqtt <host:port>', 'where to listen for MQTT (over mqtt.listen); port 0 takes a free one')
    .option('--http <host:port>', 'where to serve devices, readings, features and metrics (over http.listen)')
    .option('--insecure', 'allow listening beyond this machine although clients are not authenticated')
    .addHelpText('after', '\nExample:\n  $ tidemark-gateway start --data-dir ./data --mqtt 127.0.0.1:1883 --http 127.0.0.1:8080')
    .action(async (options: StartOptions) => {
      const config = loadConfig(options.config, options)
      if (!options.insecure) refuseOpenListeners(config)
      await run(config)
    })
}

function refuseOpenListeners(config: Config): void {
  for (const name of ['mqtt', 'http'] as const) {
    if (isLoopback(config[name]) || (name === 'http' && config.httpToken !== null)) continue
    if (name === 'http') {
      throw new ConfigError(
        `http: ${config.http.host} can be reached from other machines, and there is no token: listen on 127.0.0.1, or give http.token_file or ${TOKEN_VARIABLE}`
      )
    }
    throw new ConfigError(
      `${name}: ${config[name].host} can be reached from other machines, and clients are not authenticated: listen on 127.0.0.1, or say --insecure`
    )
  }
}

/** Said here in a line of its own, not by the log's worker that cannot open. */
function checkClock(clockFile: string | undefined): void {
  try {
    ingestClock(clockFile)
  } catch (cause) {
    throw new ConfigError(cause instanceof Error ? cause.message : String(cause), { cause })
  }
}

async function run(config: Config): Promise<void> {
  settleHeaps()
  const stdout = pino.destination({ dest: 1, sync: false }) // a reader that is slow must not stop the broker
  const logger = pino({ level: config.logLevel, base: null }, stdout)
  const clockFile = process.env.TIDEMARK_CLOCK_FILE
  checkClock(clockFile)
  if (clockFile)
    logger.warn({ clockFile }, 'ingest times come from TIDEMARK_CLOCK_FILE, not from the clock: this is for played histories only')
  const gateway = await startGateway(config, logger)
  const listening = { mqtt: `${config.mqtt.host}:${gateway.mqttPort}`, http: `${config.http.host}:${gateway.httpPort}` }
  // Before it says that it is ready: whoever reads that may end it at once.
  const signal = new Promise<string>(resolve => {
    for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, () => resolve(name))
  })
  logger.info({ ...listening, dataDir: config.dataDir, pid: process.pid }, 'ready')
  const ended = await Promise.race([signal, gateway.failed])
  if (ended instanceof Error) {
    logger.fatal({ error: ended.message }, 'the gateway cannot go on; what was acked is in the log')
    process.exit(1)
  }
  logger.info({ signal: ended }, 'draining: finishing the log, the archive and a snapshot; once more to end at once')
  for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, () => process.exit(1))
  await gateway.stop()
  logger.info('stopped')
  process.exit(0)
}
