/** Rows as a table for people: aligned, numbers to the right. */
export function textTable(header: readonly string[], rows: readonly (readonly string[])[], isNumeric: readonly boolean[]): string {
  const widths = header.map((name, k) => rows.reduce((width, row) => Math.max(width, row[k].length), name.length))
  const line = (cells: readonly string[]) =>
    cells
      .map((cell, k) => (isNumeric[k] ? cell.padStart(widths[k]) : cell.padEnd(widths[k])))
      .join('  ')
      .trimEnd()
  return [line(header), widths.map(width => '-'.repeat(width)).join('  '), ...rows.map(line)].map(text => `${text}\n`).join('')
}
