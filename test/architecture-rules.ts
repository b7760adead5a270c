/**
 * The rules of the repository's layout, as functions of file names and texts: they read no disk, so that each can be shown a
 * violation. A rule answers with complaints, one a line, empty where all is well.
 */

/** A source file: its path from the repository's root, with slashes, and its text. */
export interface Source {
  readonly path: string
  readonly text: string
}

export interface Manifest {
  readonly name: string
  readonly dependencies?: Readonly<Record<string, string>>
  readonly optionalDependencies?: Readonly<Record<string, string>>
  readonly devDependencies?: Readonly<Record<string, string>>
}

export interface Import {
  readonly specifier: string
  /** `import type` and `export type`: gone when it runs. */
  readonly isType: boolean
}

export const LINES_MAX = 350

const TOP_LEVEL =
  /^(agent|gateway|protocol|simulator|load|test|package(-lock)?\.json|tsconfig(\.[a-z]+)?\.json|README\.md|LICENSE|biome\.json|vitest\.config\.ts|\..+)$/

/** Which of our packages each may import. */
const OURS: Record<string, readonly string[]> = {
  protocol: [],
  agent: ['protocol'],
  gateway: ['protocol'],
  simulator: ['protocol'],
  load: ['protocol', 'agent', 'gateway', 'simulator'],
  test: ['protocol', 'agent', 'gateway', 'simulator', 'load']
}

const PURE =
  /^(protocol\/src\/.+|gateway\/src\/processor\/.+|agent\/src\/core\/.+|simulator\/src\/(prng|machine|device|faults|troubles|oracle|outages|labels|history-batch|json-payload|schedule))\.ts$/

/** What pure code may import besides its own files: libraries that compute, and nothing else. */
const PURE_LIBRARIES = ['@tidemark/protocol', '@msgpack/msgpack', 'zod']

/** Clock, randomness, timers, process, console, I/O, each by how it is called. `Date.UTC`, `Date.parse` and `new Date(x)` are pure. */
const IMPURE: readonly (readonly [RegExp, string])[] = [
  [/(?<![\w$])Date\s*\.\s*now\b/, 'reads the clock (Date.now)'],
  [/\bnew\s+Date\s*(?!\s*\()|\bnew\s+Date\s*\(\s*\)/, 'reads the clock (new Date without an argument)'],
  [/(?<![\w$.]|new\s{1,9})Date\s*\(/, 'reads the clock (Date as a function)'],
  [/(?<![\w$.])performance\b\s*[.?[]/, 'reads the clock (performance)'],
  [/\bMath\s*\.\s*random\b/, 'draws at random (Math.random)'],
  [/(?<![\w$.])crypto\b\s*[.?[]/, 'draws at random (crypto)'],
  [/(?<![\w$.])(setTimeout|setInterval|setImmediate|queueMicrotask)\b/, 'starts a timer'],
  [/(?<![\w$.])process\b\s*(\.|\?\.|\[)|=\s*process\b(?!\s*[(\w])/, 'reads or changes the process'],
  [/(?<![\w$.])console\b\s*[.?[]/, 'writes to the console'],
  [/(?<![\w$.])(fetch|require|eval|WebSocket)\s*\(/, 'does I/O or loads code'],
  [/(?<![\w$.])globalThis\b/, 'reaches for globals']
]

/** Allowed forms of a banned word: types and functions of SQL and DuckDB, a column type or a foreign column's name, an option of pino, a field of the journal. */
const TIMESTAMP_ALLOWED =
  /'timestamp'|\bcolumn: timestamp\b|\bTIMESTAMP\w*|\b__REALTIME_TIMESTAMP\b|\b(make|to)_timestamp\w*|\bDuckDBTimestamp\w*|\bappendTimestampTZ\b|\btimestamp: (pino\.)?stdTimeFunctions\b/g

/** The text without comments; strings stay, since imports are named by them. */
export function withoutComments(text: string): string {
  return text.replace(/'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"|`(?:\\[\s\S]|[^`\\])*`|\/\/[^\n]*|\/\*[\s\S]*?\*\//g, token =>
    token.startsWith('/') ? ' ' : token
  )
}

/** The text without comments and without what stands between single or double quotes. Templates stay: they hold code. */
function withoutStrings(text: string): string {
  return withoutComments(text).replace(/'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"/g, "''")
}

export function importsOf(text: string): Import[] {
  const code = withoutComments(text)
  const statement = /(?:^|[;\n}])\s*(?:import|export)\s+(type\s)?(?:[\w$*{}\s,]+?\s+from\s*)?['"]([^'"]+)['"]/g
  const call = /\b(?:import|require|require\.resolve)\s*\(\s*['"]([^'"]+)['"]/g
  return [
    ...[...code.matchAll(statement)].map(([, type, specifier]) => ({ specifier, isType: type !== undefined })),
    ...[...code.matchAll(call)].map(([, specifier]) => ({ specifier, isType: false }))
  ]
}

/** The path that a relative import names, from the root. */
export function resolveImport(from: string, specifier: string): string {
  const parts = from.split('/').slice(0, -1)
  for (const part of specifier.split('/')) {
    if (part === '..') parts.pop()
    else if (part !== '.') parts.push(part)
  }
  return parts.join('/').replace(/\.js$/, '.ts')
}

/** Who may import whom: DESIGN's layout. A package is reached by its name, never by a path into its folder. */
export function checkImports({ path, text }: Source): string[] {
  const [own] = path.split('/')
  const complaints: string[] = []
  for (const { specifier } of importsOf(text)) {
    const [target] = specifier.startsWith('.') ? resolveImport(path, specifier).split('/') : [/^@tidemark\/([^/]+)/.exec(specifier)?.[1]]
    if (target === undefined || target === own) continue
    if (!OURS[own].includes(target)) complaints.push(`${path} imports ${specifier}: ${own} may not depend on ${target}`)
    else if (specifier.startsWith('.') && own !== 'test') complaints.push(`${path} imports ${specifier}: use @tidemark/${target}`)
  }
  return complaints
}

/** A package imports only what its package.json declares; only `sqlite.ts` picks a better-sqlite3. */
export function checkDeclared({ path, text }: Source, manifest: Manifest): string[] {
  const complaints: string[] = []
  for (const { specifier, isType } of importsOf(text)) {
    if (specifier.startsWith('.') || specifier.startsWith('node:')) continue
    const name = specifier
      .split('/')
      .slice(0, specifier.startsWith('@') ? 2 : 1)
      .join('/')
    const declared = [manifest.dependencies, manifest.optionalDependencies, isType ? manifest.devDependencies : {}]
    if (!declared.some(names => names?.[name] !== undefined))
      complaints.push(`${path} imports ${specifier}, which ${manifest.name} does not declare`)
    if (name.startsWith('better-sqlite3') && !isType && !path.endsWith('/sqlite.ts'))
      complaints.push(`${path} imports ${specifier}: use sqlite.ts`)
  }
  return complaints
}

export function isPure(path: string): boolean {
  return PURE.test(path)
}

/** Pure folders, and whatever they import of their own package, read no clock, randomness, timers, process, console or disk. */
export function checkPure(sources: readonly Source[]): string[] {
  const byPath = new Map(sources.map(source => [source.path, source]))
  const reached = sources.filter(({ path }) => isPure(path)).map(({ path }) => path)
  const complaints: string[] = []
  for (const path of reached) {
    const source = byPath.get(path)
    if (source === undefined) continue
    const because = isPure(path) ? '' : ' (pure code imports it)'
    const code = withoutStrings(source.text)
    for (const [pattern, what] of IMPURE) if (pattern.test(code)) complaints.push(`${path} ${what}${because}`)
    for (const { specifier, isType } of importsOf(source.text)) {
      if (isType) continue
      if (specifier.startsWith('.')) {
        const target = resolveImport(path, specifier)
        if (!reached.includes(target)) reached.push(target)
      } else if (!PURE_LIBRARIES.includes(specifier)) {
        complaints.push(`${path} imports ${specifier}, which pure code may not${because}`)
      }
    }
  }
  return complaints
}

export function checkLength({ path, text }: Source): string[] {
  const lines = text.trimEnd().split('\n').length
  return lines > LINES_MAX ? [`${path} has ${lines} lines; split it by responsibility (at most ${LINES_MAX})`] : []
}

/** The word says neither whether the device measured or the log took in: event time and ingest time do. */
export function checkWords({ path, text }: Source): string[] {
  return withoutComments(text)
    .replaceAll(TIMESTAMP_ALLOWED, '')
    .split('\n')
    .flatMap(line => {
      const word = /[\w$]*timestamp[\w$]*/i.exec(line)?.[0]
      return word === undefined ? [] : [`${path} says "${word}": is it the event time or the ingest time?`]
    })
}

export function checkTopLevel(names: readonly string[]): string[] {
  return names.filter(name => !TOP_LEVEL.test(name)).map(name => `${name} does not belong at the top level`)
}
