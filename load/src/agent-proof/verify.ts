/** The proof: puts an agent through its ordeal, then asks the gateway's ledger and compares the archive with what the machine showed. */
import { existsSync, readFileSync, rmSync } from 'node:fs'
import { ROTATING_MACHINE, type Value } from '@tidemark/protocol'
import { type LedgerTotal, readLedger } from '../demo/report.js'
import { parquetBelow, queryRows, quoteName, withDuckDB } from '../replay/duckdb.js'
import { readSqlite } from '../replay/sqlite.js'
import { makeFolder, UnfinishedReplayError } from '../replay/verify.js'
import { type ArchivedReading, expectedReadings, matchReadings } from './machine.js'
import { AgentOrdeal, type Durability, type Ordeal, type OrdealOptions } from './ordeal.js'
import { planLives } from './plan.js'
import { SmallDisk } from './small-disk.js'

export interface ProofOptions
  extends Pick<OrdealOptions, 'seed' | 'readings' | 'intervalMs' | 'durability' | 'commitIntervalMs' | 'signal' | 'say' | 'progress'> {
  readonly kills: number
  readonly keep?: string
}

export interface Proof {
  readonly seed: number
  readonly durability: Durability
  readonly disk: SmallDisk['kind']
  readonly kills: number
  readonly fullDisks: number
  readonly refusedStarts: number
  readonly spoiltPages: number
  /** Readings that the machine gave, in order, and of them: in the archive; not there. */
  readonly readings: number
  readonly archivedReadings: number
  readonly lostReadings: number
  /** Measured again after a crash, under another seq: the source had gone back to what was committed. */
  readonly measuredAgain: number
  /** Rows that are no reading of the machine. */
  readonly strangers: number
  readonly epochs: number
  readonly ledger: LedgerTotal
  /** What the last salvage kept and lost, in the agent's words. */
  readonly salvage: string | null
  readonly seconds: number
  /** What must hold and does not; empty: proved. */
  readonly violations: readonly string[]
}

export interface Proved {
  readonly proof: Proof
  /** Where data and logs are; null where they were removed. */
  readonly folder: string | null
}

/** Throws a `UsageError` for what the person must change, and an `UnfinishedReplayError` where it could not be finished. */
export async function verifyAgent(options: ProofOptions): Promise<Proved> {
  const startedMs = performance.now()
  const folder = makeFolder(options.keep, 'agent-proof')
  let mounted: SmallDisk | null = null
  const unmount = () => mounted?.unmount()
  process.on('exit', unmount)
  try {
    const disk = SmallDisk.mount(folder)
    mounted = disk
    const lives = planLives(options.seed, options.kills - 1) // one more comes between sampling and draining
    const ordeal = await new AgentOrdeal({ ...options, folder, disk, lives }).run()
    const proof = await judge(options, disk, ordeal, startedMs)
    const isToStay = options.keep !== undefined || proof.violations.length > 0
    unmount()
    if (!isToStay) rmSync(folder, { recursive: true, force: true })
    return { proof, folder: isToStay ? folder : null }
  } catch (error) {
    unmount()
    if (mounted === null || options.signal.aborted) {
      rmSync(folder, { recursive: true, force: true })
      throw error
    }
    throw new UnfinishedReplayError(folder, error)
  } finally {
    process.off('exit', unmount)
  }
}

async function judge(options: ProofOptions, disk: SmallDisk, ordeal: Ordeal, startedMs: number): Promise<Proof> {
  const { seed, readings, intervalMs, durability } = options
  const { total, ok } = readLedger(ordeal.gatewayData)
  const rows = await readArchived(ordeal.gatewayData)
  const { strangers, times } = matchReadings(expectedReadings(seed, intervalMs, readings), rows)
  const archivedReadings = times.reduce((sum, n) => sum + Math.min(n, 1), 0)
  const agent = readAgent(ordeal.buffer)
  const { kills, fullDisks, refusedStarts, spoiltPages } = ordeal
  const proof = {
    seed,
    durability,
    disk: disk.kind,
    kills,
    fullDisks,
    refusedStarts,
    spoiltPages,
    readings,
    archivedReadings,
    lostReadings: readings - archivedReadings,
    measuredAgain: times.reduce((sum, n) => sum + Math.max(0, n - 1), 0),
    strangers: strangers.length,
    epochs: new Set(rows.map(row => row.epoch)).size,
    ledger: total,
    salvage: agent.salvage,
    seconds: Math.round((performance.now() - startedMs) / 1000)
  }
  return { ...proof, violations: violationsOf(proof, { isBalanced: ok, sampled: agent.sampled, held: agent.held, options, ordeal }) }
}

interface Evidence {
  readonly isBalanced: boolean
  readonly sampled: number
  readonly held: number
  readonly options: ProofOptions
  readonly ordeal: Ordeal
}

function violationsOf(proof: Omit<Proof, 'violations'>, { isBalanced, sampled, held, options, ordeal }: Evidence): string[] {
  const { ledger } = proof
  const wasNoticed = existsSync(`${ordeal.buffer}.damaged-1`) && readFileSync(ordeal.logPath, 'utf8').includes('the buffer is salvaged')
  const rules: readonly (readonly [boolean, string])[] = [
    [isBalanced && ledger.missing === 0 && ledger.doubled === 0, `the ledger does not balance: ${JSON.stringify(ledger)}`],
    [ledger.sampled === sampled, `the agent gave ${sampled} seqs, the ledger knows ${ledger.sampled}`],
    [held === 0 && ledger.buffered === 0, `${held} readings are still in the buffer, ${ledger.buffered} by the ledger`],
    [ledger.quarantined === 0, `${ledger.quarantined} readings are in the quarantine`],
    [proof.strangers === 0, `${proof.strangers} rows are nothing that the machine showed, or in another order`],
    [proof.lostReadings <= ledger.shed, `${proof.lostReadings} readings are not in the archive, only ${ledger.shed} are declared`],
    [proof.kills >= options.kills, `${proof.kills} kills instead of ${options.kills}`],
    [proof.fullDisks === 2, `the disk was full ${proof.fullDisks} times`],
    [wasNoticed, 'the damage was not noticed: nothing was salvaged']
  ]
  return rules.flatMap(([holds, violation]) => (holds ? [] : [violation]))
}

async function readArchived(gatewayData: string): Promise<ArchivedReading[]> {
  const metrics = ROTATING_MACHINE.metrics.map(({ name }) => quoteName(name)).join(', ')
  return await withDuckDB(async connection => {
    const from = await parquetBelow(connection, `${gatewayData}/archive/processed`)
    if (from === null) return []
    const rows = await queryRows(connection, `SELECT epoch, seq, ${metrics} FROM ${from} ORDER BY epoch, seq`)
    return rows.map(([epoch, seq, ...values]) => ({ epoch: Number(epoch), seq: Number(seq), values: values as Value[] }))
  })
}

/** Seqs that were given in all epochs, and what is held, as the agent's buffer says when all is over. */
function readAgent(buffer: string): { sampled: number; held: number; salvage: string | null } {
  return readSqlite(buffer, database => {
    const sql = 'SELECT next_position - 1 AS sampled, held, salvage FROM state'
    return database.prepare(sql).get() as { sampled: number; held: number; salvage: string | null }
  })
}
