/** A result as a table for the terminal. */
import type { Limit, Result } from './result.js'

/** Rows of a result: what, and how much. */
export function rowsOf(result: Result): readonly (readonly [string, string])[] {
  const { puback_ms, backlog_ms, archive_ms, rss_mb_by_role } = result
  const rows: (readonly [string, string])[] = [
    ['devices over connections', `${whole(result.devices)} over ${whole(result.connections)}, connected in ${result.connect_s} s`],
    ['readings sent, acked', `${whole(result.readings_sent)}, ${whole(result.readings_acked)} in ${result.seconds} s`],
    [result.steps.length > 0 ? 'knee' : 'rate', `${whole(result.rate)} readings/s, ${whole(result.messages_acked)} messages in all`],
    ['PUBACK from intended send', `p50 ${puback_ms.p50}, p99 ${puback_ms.p99}, p99.9 ${puback_ms.p999} ms`]
  ]
  if (backlog_ms !== null) rows.push(['of devices with a backlog', `p50 ${backlog_ms.p50}, p99 ${backlog_ms.p99} ms from their return`])
  rows.push([
    `${result.archive_from.replace('_', ' ')} to readable in the archive`,
    `p50 ${seconds(archive_ms.p50)}, p99 ${seconds(archive_ms.p99)} s`
  ])
  rows.push(['gateway CPU, simulator CPU', `${result.cpu_s_per_million}, ${result.simulator_cpu_s_per_million} s a million readings`])
  rows.push([
    'gateway memory',
    `${whole(result.rss_mb)} MB at most (fronts ${whole(rss_mb_by_role.front ?? 0)}), grown by ${result.rss_growth_percent} % once settled`
  ])
  rows.push(['event loop delay, GC', `p99 ${result.event_loop_delay_p99_ms} ms at most, ${rounded(result.gc_share * 100)} % of the time`])
  rows.push(['bytes a reading', bytesLine(result)])
  rows.push(['group commits (an fsync each)', whole(result.group_commits)])
  if (result.disconnects > 0)
    rows.push(['connections lost, redelivered', `${whole(result.disconnects)}, ${whole(result.redelivered)} PUBLISHes`])
  for (const [n, recover] of result.recover_s.entries())
    rows.push([
      `back after kill ${n + 1}`,
      recover === null ? 'not within the run' : `${recover} s until all were connected and p99 below 1 s`
    ])
  rows.push([
    'archive against the simulator',
    `${result.missing} missing, ${result.doubled} doubled, ${result.different} different, ${result.unexpected + result.quarantine_wrong} wrongly kept`
  ])
  return rows
}

export function tableText(result: Result): string {
  const rows = rowsOf(result)
  const width = Math.max(...rows.map(([what]) => what.length))
  const lines = rows.map(([what, figure]) => `  ${what.padEnd(width)}  ${figure}`)
  const steps = result.steps.map(
    step =>
      `    ${whole(step.offered_per_s).padStart(9)}/s  p50 ${step.puback_ms.p50} ms, p99 ${step.puback_ms.p99} ms, ${rounded(step.cpu_s_per_million)} CPU s a million${step.held ? '' : '  not held'}`
  )
  const limits = result.limits.map(limit => `  ${limitText(limit)}`)
  return [`\n${result.scenario}`, ...lines, ...(steps.length > 0 ? ['  steps', ...steps] : []), ...limits, verdictText(result), ''].join(
    '\n'
  )
}

export function limitText({ name, want, got, held }: Limit): string {
  const sign = name === 'readings_per_s' ? '>=' : '<='
  return `${held ? 'ok  ' : 'NOT '} ${name} ${sign} ${want}: ${got === null ? 'never' : rounded(got)}`
}

export function verdictText(result: Result): string {
  if (result.ok) return 'ok: every reading is in the archive exactly once, and all limits hold'
  const lost = result.readings_sent - result.readings_acked
  return `NOT OK: ${lost > 0 ? `${lost} readings were not acked; ` : ''}see above`
}

function bytesLine(result: Result): string {
  const { payload_bytes_per_reading: payload, wire_bytes_per_reading: wire } = result
  return `payload ${payload}, MQTT ${wire}, written to disk ${result.written_bytes_per_reading}, in processed/ ${result.processed_bytes_per_reading}`
}

function whole(value: number): string {
  return Math.round(value).toLocaleString('en-US')
}

function seconds(ms: number): number {
  return rounded(ms / 1000)
}

function rounded(value: number): number {
  return Math.round(value * 100) / 100
}
