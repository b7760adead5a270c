/** A result as one HTML file with charts that works offline: style, library and data stand in it. */
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'
import type { Point } from './meter.js'
import type { Result } from './result.js'
import { limitText, rowsOf, verdictText } from './table.js'

const require = createRequire(import.meta.url)
const asset = (name: string) => readFileSync(fileURLToPath(new URL(`../../report/${name}`, import.meta.url)), 'utf8')
const library = (file: string) => readFileSync(require.resolve('uplot').replace(/[^/\\]+$/, file), 'utf8')

/** More points than a chart has pixels only make the file heavy. */
const POINTS_MAX = 2000

const CHARTS = [
  ['throughput', 'Throughput', 'readings acked a second'],
  ['latency', 'PUBACK', 'from the time at which a reading was due, of each second'],
  ['memory', 'Memory', 'resident, of all processes of a role'],
  ['cpu', 'CPU', 'cores at work'],
  ['connections', 'Connections', 'open at that time'],
  ['flight', 'In flight', 'messages sent and not acked']
] as const

export function htmlReport(result: Result, points: readonly Point[], about: string): string {
  const { machine } = result
  const facts: readonly (readonly [string, string])[] = [
    ['machine', `${machine.cpu}, ${machine.cores} cores, ${machine.memory_gb} GB`],
    ['system', `Linux ${machine.kernel}, Node ${machine.node}`],
    ['Tidemark', `${machine.version}, commit ${machine.commit}`],
    ['date', machine.date]
  ]
  const limits = result.limits
    .map(limit => `<tr><td class="${limit.held ? 'held' : 'failed'}">${text(limitText(limit))}</td></tr>`)
    .join('')
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Tidemark: ${text(result.scenario)}</title>
<style>${library('uPlot.min.css')}${asset('page.css')}</style>
</head>
<body>
<main>
<header>
<div><div class="brand">Tidemark load report</div><h1>${text(result.scenario)}</h1><p>${text(about)}</p></div>
<div class="verdict ${result.ok ? 'good' : 'bad'}">${result.ok ? 'holds' : 'does not hold'}</div>
</header>
<section class="tiles">${tiles(result)}</section>
<section class="charts">${CHARTS.map(([id, title, what]) => `<div class="card"><h2>${title}</h2><p>${what}</p><div id="${id}"></div></div>`).join('\n')}</section>
<section class="tables">
<div class="card"><h2>Figures</h2><p>${text(verdictText(result))}</p>${table(rowsOf(result))}</div>
<div class="stack">
${limits === '' ? '' : `<div class="card"><h2>Limits</h2><p>what the scenario wants</p><table>${limits}</table></div>`}
${result.steps.length === 0 ? '' : `<div class="card"><h2>Steps</h2><p>the rate was raised until it no longer held</p>${steps(result)}</div>`}
<div class="card"><h2>Where</h2><p>figures are of this machine</p>${table(facts)}</div>
</div>
</section>
</main>
<script type="application/json" id="data">${json({ points: columns(points), marks: marksOf(points) })}</script>
<script>${library('uPlot.iife.min.js')}</script>
<script>${asset('page.js')}</script>
</body>
</html>
`
}

function tiles(result: Result): string {
  const wrong = result.missing + result.doubled + result.different
  const all: readonly (readonly [string, string])[] = [
    [result.rate.toLocaleString('en-US'), `readings/s${result.steps.length > 0 ? ' at the knee' : ''}`],
    [result.devices.toLocaleString('en-US'), 'devices'],
    [`${Number(result.puback_ms.p99.toPrecision(3))} ms`, `PUBACK p99 (p50 ${Number(result.puback_ms.p50.toPrecision(3))})`],
    [`${(result.archive_ms.p99 / 1000).toFixed(1)} s`, 'to the archive, p99'],
    [String(result.cpu_s_per_million), 'CPU s a million readings'],
    [`${result.rss_mb.toLocaleString('en-US')} MB`, 'gateway memory, at most'],
    [wrong.toLocaleString('en-US'), 'missing, doubled, different']
  ]
  return all.map(([figure, what]) => `<div class="tile"><b>${text(figure)}</b><span>${text(what)}</span></div>`).join('')
}

function table(rows: readonly (readonly [string, string])[]): string {
  return `<table>${rows.map(([what, figure]) => `<tr><td>${text(what)}</td><td>${text(figure)}</td></tr>`).join('')}</table>`
}

function steps(result: Result): string {
  const rows = result.steps.map(
    ({ offered_per_s, puback_ms, cpu_s_per_million, held }) =>
      `<tr><td>${offered_per_s.toLocaleString('en-US')}</td><td>${puback_ms.p50}</td><td>${puback_ms.p99}</td><td>${cpu_s_per_million.toFixed(1)}</td><td class="${held ? 'held' : 'failed'}">${held ? 'held' : 'not held'}</td></tr>`
  )
  return `<table><tr><th>readings/s</th><th>p50 ms</th><th>p99 ms</th><th>CPU s/M</th><th></th></tr>${rows.join('')}</table>`
}

/** A column a series, as uPlot takes them. */
function columns(points: readonly Point[]): Record<string, number[]> {
  const every = Math.ceil(points.length / POINTS_MAX)
  const shown = points.filter((_, n) => n % every === 0)
  const column = (of: (point: Point) => number) => shown.map(point => Math.round(of(point) * 100) / 100)
  return {
    atS: column(point => point.atS),
    readingsPerS: column(point => point.readingsPerS),
    p50Ms: column(point => point.p50Ms),
    p99Ms: column(point => point.p99Ms),
    p999Ms: column(point => point.p999Ms),
    connected: column(point => point.connected),
    inFlight: column(point => point.inFlight),
    gatewayMb: column(point => point.rssMb.gateway),
    frontMb: column(point => point.rssMb.front),
    simulatorMb: column(point => point.rssMb.simulator),
    gatewayCores: column(point => point.cores.gateway),
    frontCores: column(point => point.cores.front),
    simulatorCores: column(point => point.cores.simulator),
    runnerCores: column(point => point.cores.runner)
  }
}

/** When most connections were lost at once: the kills. */
function marksOf(points: readonly Point[]): number[] {
  return points.flatMap((point, n) => {
    const before = points[n - 1]
    const isLoss =
      before !== undefined && before.phase === 'sampling' && point.phase === 'sampling' && point.connected < before.connected / 2
    return isLoss ? [point.atS] : []
  })
}

function text(value: string): string {
  return value.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;')
}

/** No text of the data may end the script that it stands in. */
function json(value: unknown): string {
  return JSON.stringify(value).replaceAll('<', '\\u003c')
}
