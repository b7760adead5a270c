/** The repository keeps its own rules; and each rule notices when it is broken. */
import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import {
  checkDeclared,
  checkImports,
  checkLength,
  checkPure,
  checkTopLevel,
  checkWords,
  importsOf,
  isPure,
  LINES_MAX,
  type Manifest,
  type Source
} from './architecture-rules.js'

const ROOT = fileURLToPath(new URL('..', import.meta.url))
const PACKAGES = ['protocol', 'agent', 'gateway', 'simulator', 'load']

function sourcesIn(folder: string): Source[] {
  return readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' })
    .filter(file => file.endsWith('.ts'))
    .map(file => `${folder}/${file.replaceAll('\\', '/')}`)
    .map(path => ({ path, text: readFileSync(join(ROOT, path), 'utf8') }))
}

const manifestOf = (folder: string): Manifest => JSON.parse(readFileSync(join(ROOT, folder, 'package.json'), 'utf8'))
const sources = PACKAGES.flatMap(name => sourcesIn(`${name}/src`))
const tests = sourcesIn('test')

describe('the repository', () => {
  test('imports in the directions that the design allows', () => {
    expect([...sources, ...tests].flatMap(checkImports)).toEqual([])
  })

  test('imports only what is declared', () => {
    const complaints = PACKAGES.flatMap(name => {
      const manifest = manifestOf(name)
      return sources.filter(({ path }) => path.startsWith(`${name}/`)).flatMap(source => checkDeclared(source, manifest))
    })
    expect(complaints).toEqual([])
  })

  test('declares of our packages only those that it may import', () => {
    const complaints = PACKAGES.flatMap(name => {
      const text = Object.keys(manifestOf(name).dependencies ?? {})
        .map(dependency => `import '${dependency}'`)
        .join('\n')
      return checkImports({ path: `${name}/src/manifest.ts`, text })
    })
    expect(complaints).toEqual([])
  })

  test('keeps pure code pure', () => {
    expect(sources.filter(({ path }) => isPure(path)).length).toBeGreaterThan(20)
    expect(checkPure(sources)).toEqual([])
  })

  test(`has no source file of more than ${LINES_MAX} lines`, () => {
    expect(sources.flatMap(checkLength)).toEqual([])
  })

  test('never calls a time a timestamp', () => {
    expect(sources.flatMap(checkWords)).toEqual([])
  })

  test('holds at its top level what belongs there', () => {
    // of what git knows, so that a folder kept from a demo is nobody's business
    const tracked = existsSync(join(ROOT, '.git'))
      ? execFileSync('git', ['ls-files', '-z'], { cwd: ROOT, encoding: 'utf8' }).split('\0')
      : []
    const names =
      tracked.length > 1
        ? tracked.filter(Boolean).map(path => path.split('/')[0])
        : readdirSync(ROOT).filter(name => name !== 'node_modules')
    expect(names.length).toBeGreaterThan(5)
    expect(checkTopLevel([...new Set(names)])).toEqual([])
  })
})

describe('a planted violation is noticed', () => {
  const at = (path: string, ...lines: string[]): Source => ({ path, text: lines.join('\n') })

  test('imports are found in every form', () => {
    const text = [
      "import a from 'a'",
      'import { b,',
      '  c } from "b"',
      "import type { D } from 'd'",
      "export * from 'e'",
      "export type { F } from 'f'",
      "import 'g'",
      "const h = await import('h')",
      "const i = require('i')",
      "import * as j from 'j'",
      "// import 'k'",
      "/* import 'l' */",
      "const url = 'http://m' // import 'n'",
      "import o, { type P } from 'o'"
    ]
    expect(
      importsOf(text.join('\n'))
        .map(({ specifier }) => specifier)
        .sort()
    ).toEqual(['a', 'b', 'd', 'e', 'f', 'g', 'h', 'i', 'j', 'o'])
    expect(
      importsOf(text.join('\n'))
        .filter(({ isType }) => isType)
        .map(({ specifier }) => specifier)
    ).toEqual(['d', 'f'])
  })

  test.each([
    ['agent/src/x.ts', '@tidemark/gateway', 'agent may not depend on gateway'],
    ['gateway/src/x.ts', '@tidemark/simulator', 'gateway may not depend on simulator'],
    ['simulator/src/x.ts', '@tidemark/agent/dist/x.js', 'simulator may not depend on agent'],
    ['protocol/src/x.ts', '@tidemark/agent', 'protocol may not depend on agent'],
    ['protocol/src/x.ts', '../../gateway/src/y.js', 'protocol may not depend on gateway'],
    ['gateway/src/a/x.ts', '../../../load/src/y.js', 'gateway may not depend on load'],
    ['simulator/src/x.ts', '../../test/kit/y.js', 'simulator may not depend on test'],
    ['load/src/x.ts', '../../test/kit/y.js', 'load may not depend on test'],
    ['agent/src/x.ts', '@tidemark/load', 'agent may not depend on load'],
    ['agent/src/x.ts', '../../protocol/src/y.js', 'use @tidemark/protocol']
  ])('%s importing %s', (path, specifier, complaint) => {
    expect(checkImports(at(path, `import { y } from '${specifier}'`)).join()).toContain(complaint)
    expect(checkImports(at(path, `export type { Y } from '${specifier}'`))).toHaveLength(1)
  })

  test('what is allowed is not complained of', () => {
    expect(checkImports(at('load/src/x.ts', "import '@tidemark/gateway'", "import './y.js'", "import 'node:fs'"))).toEqual([])
    expect(checkImports(at('test/e2e/x.test.ts', "import '../../gateway/src/y.js'", "import '@tidemark/load'"))).toEqual([])
    expect(checkImports(at('agent/src/core/x.ts', "import '@tidemark/protocol'", "import '../y.js'"))).toEqual([])
  })

  test('a dependency that is not declared', () => {
    const manifest = {
      name: 'p',
      dependencies: { zod: '4', '@a/b': '1' },
      optionalDependencies: { 'better-sqlite3': '13' },
      devDependencies: { '@types/x': '1' }
    }
    expect(
      checkDeclared(
        at('p/src/x.ts', "import 'zod'", "import '@a/b/c'", "import 'node:fs'", "import './y.js'", "import type { X } from '@types/x'"),
        manifest
      )
    ).toEqual([])
    for (const line of ["import 'pino'", "import '@a/c'", "import 'fs'", "import '@types/x'"])
      expect(checkDeclared(at('p/src/x.ts', line), manifest)).toHaveLength(1)
    expect(checkDeclared(at('p/src/x.ts', "const { default: d } = await import('better-sqlite3')"), manifest).join()).toContain(
      'use sqlite.ts'
    )
    expect(checkDeclared(at('p/src/sqlite.ts', "require('better-sqlite3')"), manifest)).toEqual([])
  })

  test.each([
    'const now = Date.now()',
    'const now = new Date()',
    'const now = new Date',
    'const now = +new Date ()',
    'const now = Date()',
    'const { now } = performance; const t = performance.now()',
    'const r = Math.random()',
    'const r = crypto.randomUUID()',
    'setTimeout(() => {}, 1)',
    'setInterval(tick, 1)',
    'queueMicrotask(tick)',
    'const e = process.env',
    "const e = process['env']",
    'const { env } = process',
    'process.exit(1)',
    "console.log('x')",
    // biome-ignore lint/suspicious/noTemplateCurlyInString: it is code
    'const text = `at ${Date.now()}`',
    "const x = await fetch('http://x')",
    'globalThis.x = 1',
    "import { readFileSync } from 'node:fs'",
    "import pino from 'pino'",
    "import fs from 'fs'"
  ])('in a pure folder: %s', line => {
    for (const path of ['protocol/src/x.ts', 'gateway/src/processor/x.ts', 'agent/src/core/x.ts', 'simulator/src/oracle.ts']) {
      expect(checkPure([at(path, line)]).length, path).toBeGreaterThan(0)
    }
    expect(checkPure([at('agent/src/cli.ts', line)])).toEqual([])
  })

  test.each([
    'const ms = Date.UTC(2026, 0, 1)',
    "const ms = Date.parse('2026-01-01T00:00:00Z')",
    'const date = new Date(ms)',
    'const date = new Date (ms)',
    '// reads no Date.now(), no process.env',
    "const what = 'process.exit'",
    'class P { process(entry: Entry): void {} }',
    'this.process(entry)',
    'state.performance.total += 1',
    'const processor = process_(x)',
    "import { z } from './y.js'",
    "import type { Stats } from 'node:fs'",
    "import { durationMs } from '@tidemark/protocol'"
  ])('but not: %s', line => {
    expect(checkPure([at('gateway/src/processor/x.ts', line)])).toEqual([])
  })

  test('impurity behind an import of a pure file', () => {
    const clock = at('agent/src/clock.ts', 'export const now = () => Date.now()')
    const between = at('agent/src/between.ts', "export * from './clock.js'")
    expect(checkPure([at('agent/src/core/x.ts', "import { now } from '../between.js'"), between, clock])).toEqual([
      'agent/src/clock.ts reads the clock (Date.now) (pure code imports it)'
    ])
    expect(checkPure([at('agent/src/core/x.ts', "import type { Now } from '../clock.js'"), clock])).toEqual([])
  })

  test('libraries that only compute are pure', () => {
    expect(checkPure([at('protocol/src/x.ts', "import { z } from 'zod'", "import '@msgpack/msgpack'")])).toEqual([])
    expect(checkPure([at('protocol/src/x.ts', "import { parse } from 'yaml'")])).toHaveLength(1)
  })

  test('a file that is too long', () => {
    expect(checkLength(at('agent/src/x.ts', ...new Array<string>(LINES_MAX).fill('x')))).toEqual([])
    expect(checkLength(at('agent/src/x.ts', ...new Array<string>(LINES_MAX + 1).fill('x')))).toHaveLength(1)
  })

  test.each([
    'const timestamp = 1',
    'interface R { eventTimestamp: number }',
    "const c = { name: 'ingest_timestamp' }",
    'row.Timestamp',
    'const timestampMs = 0',
    '`SELECT timestamp FROM x`'
  ])('the word in: %s', line => {
    expect(checkWords(at('gateway/src/x.ts', line))).toHaveLength(1)
  })

  test.each([
    "type: 'double' | 'timestamp'",
    'CAST(x AS TIMESTAMP_MS)',
    'make_timestamptz(x)',
    'value instanceof DuckDBTimestampValue',
    'pino({ timestamp: pino.stdTimeFunctions.isoTime })',
    'entry.__REALTIME_TIMESTAMP',
    '// a timestamp',
    'time: { column: timestamp, zone: UTC }'
  ])('but not in: %s', line => {
    expect(checkWords(at('gateway/src/x.ts', line))).toEqual([])
  })

  test('something new at the top level', () => {
    expect(checkTopLevel(['agent', 'package.json', 'tsconfig.base.json', '.ci', 'LICENSE', 'README.md'])).toEqual([])
    for (const name of ['docs', 'scripts', 'src', 'notes.md', 'Makefile', 'agent2']) expect(checkTopLevel([name])).toHaveLength(1)
  })
})
