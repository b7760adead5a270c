/** Draws the report's charts from the data that stands in the page. Runs in the browser, with uPlot before it. */
const { points, marks } = JSON.parse(document.getElementById('data').textContent)
const isDark = matchMedia('(prefers-color-scheme: dark)').matches
const ink = isDark ? '#8d9cae' : '#5d6b7c'
const grid = isDark ? '#263243' : '#e9edf3'
const palette = {
  blue: isDark ? '#5aa9ff' : '#2472e0',
  teal: isDark ? '#3ecfb2' : '#10957a',
  amber: isDark ? '#ffb454' : '#d9822b',
  red: isDark ? '#ff6b81' : '#c8324a',
  violet: isDark ? '#b08cff' : '#7a4fd0'
}

function clock(seconds) {
  const [m, s] = [Math.floor(seconds / 60), Math.round(seconds % 60)]
  return m > 0 ? `${m}:${String(s).padStart(2, '0')}` : `${s} s`
}

function short(value) {
  if (value >= 1e6) return `${+(value / 1e6).toFixed(2)} M`
  return value >= 1e4 ? `${+(value / 1e3).toFixed(1)} k` : `${+value.toPrecision(4)}`
}

/** Vertical lines where something was done to the gateway. */
function markLines(u) {
  const { ctx } = u
  ctx.save()
  ctx.strokeStyle = palette.red
  ctx.setLineDash([4, 4])
  for (const atS of marks) {
    const x = Math.round(u.valToPos(atS, 'x', true))
    ctx.beginPath()
    ctx.moveTo(x, u.bbox.top)
    ctx.lineTo(x, u.bbox.top + u.bbox.height)
    ctx.stroke()
  }
  ctx.restore()
}

function chart(id, unit, series, { isLog = false, isFilled = false } = {}) {
  const element = document.getElementById(id)
  const sync = uPlot.sync('report')
  const columns = series.map(({ key }) => points[key].map(value => (isLog && value <= 0 ? null : value)))
  const axis = { stroke: ink, grid: { stroke: grid, width: 1 }, ticks: { stroke: grid, width: 1 }, font: '12px system-ui, sans-serif' }
  const options = {
    width: element.clientWidth,
    height: 230,
    cursor: { sync: { key: sync.key }, points: { size: 6 } },
    scales: { x: { time: false }, y: isLog ? { distr: 3 } : { range: (_u, _min, max) => [0, max > 0 ? max * 1.1 : 1] } },
    axes: [
      { ...axis, values: (_u, ticks) => ticks.map(clock), space: 60, incrs: [1, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600] },
      { ...axis, size: 62, values: (_u, ticks) => ticks.map(tick => (tick === null ? '' : short(tick))) }
    ],
    series: [
      { label: 'time', value: (_u, value) => (value === null ? '–' : clock(value)) },
      ...series.map(({ label, color }) => ({
        label,
        stroke: palette[color],
        width: 1.75,
        points: { show: false },
        spanGaps: true,
        ...(isFilled ? { fill: `${palette[color]}22` } : {}),
        value: (_u, value) => (value === null ? '–' : `${short(value)} ${unit}`)
      }))
    ],
    hooks: { draw: [markLines] }
  }
  const plot = new uPlot(options, [points.atS, ...columns], element)
  new ResizeObserver(() => plot.setSize({ width: element.clientWidth, height: 230 })).observe(element)
}

chart('throughput', 'readings/s', [{ key: 'readingsPerS', label: 'acked', color: 'blue' }], { isFilled: true })
chart(
  'latency',
  'ms',
  [
    { key: 'p50Ms', label: 'p50', color: 'teal' },
    { key: 'p99Ms', label: 'p99', color: 'amber' },
    { key: 'p999Ms', label: 'p99.9', color: 'red' }
  ],
  { isLog: true }
)
chart(
  'memory',
  'MB',
  [
    { key: 'gatewayMb', label: 'gateway', color: 'blue' },
    { key: 'frontMb', label: 'its fronts', color: 'violet' },
    { key: 'simulatorMb', label: 'simulator', color: 'amber' }
  ].filter(({ key }) => points[key].some(value => value > 0))
)
chart(
  'cpu',
  'cores',
  [
    { key: 'gatewayCores', label: 'gateway', color: 'blue' },
    { key: 'frontCores', label: 'its fronts', color: 'violet' },
    { key: 'simulatorCores', label: 'simulator', color: 'amber' },
    { key: 'runnerCores', label: 'load runner', color: 'teal' }
  ].filter(({ key }) => points[key].some(value => value > 0))
)
chart('connections', '', [{ key: 'connected', label: 'connected', color: 'teal' }], { isFilled: true })
chart('flight', 'messages', [{ key: 'inFlight', label: 'in flight', color: 'violet' }], { isFilled: true })
