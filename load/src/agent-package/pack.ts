/**
 * Makes the agent's package: one tarball that installs alone. The built agent, `@tidemark/protocol` and all libraries are bundled into
 * `dist/`, split so that what is loaded late stays a file of its own. What holds native code stays a dependency, and optional:
 * npm picks the better-sqlite3 that the device's Node can load. Beside it: README, examples, licences of all that is inside.
 */
import { execFileSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build, type Metafile } from 'esbuild'
import { UsageError } from '../replay/replay-error.js'

const ROOT = fileURLToPath(new URL('../../..', import.meta.url))
const NODE_OLDEST = 'node20.19'

/** Of the agent's package.json and that of modbus-serial, what is used here. */
interface Manifest {
  readonly optionalDependencies: Readonly<Record<string, string>>
  readonly [key: string]: unknown
}

/**
 * Packs what is in `agent/dist`. Throws a `UsageError` where that is not built.
 * @param out the folder to put the tarball in
 * @returns the tarball's path
 */
export async function packAgent(out: string): Promise<string> {
  const entry = join(ROOT, 'agent/dist/cli.js')
  if (!existsSync(entry)) throw new UsageError(`there is no ${entry}: build it with npm run build`)
  const staging = mkdtempSync(join(tmpdir(), 'tidemark-pack-'))
  try {
    const manifest = packedManifest()
    writeFileSync(join(staging, 'package.json'), `${JSON.stringify(manifest, null, 2)}\n`)
    const { inputs } = await bundle(entry, join(staging, 'dist'), Object.keys(manifest.optionalDependencies))
    writeFileSync(join(staging, 'THIRD-PARTY-LICENSES'), licences(Object.keys(inputs)))
    cpSync(join(ROOT, 'LICENSE'), join(staging, 'LICENSE'))
    for (const name of ['README.md', 'examples']) cpSync(join(ROOT, 'agent', name), join(staging, name), { recursive: true })
    mkdirSync(out, { recursive: true })
    const packed = execFileSync('npm', ['pack', '--json', '--pack-destination', resolve(out)], { cwd: staging, encoding: 'utf8' })
    const [{ filename }] = JSON.parse(packed) as { filename: string }[]
    return join(resolve(out), filename)
  } finally {
    rmSync(staging, { recursive: true, force: true })
  }
}

/** The agent's, with native packages for its only dependencies: serialport comes along as modbus-serial has it. */
function packedManifest(): Manifest {
  const { name, version, description, license, type, engines, bin, optionalDependencies } = readManifest(join(ROOT, 'agent'))
  const { serialport } = readManifest(join(ROOT, 'node_modules/modbus-serial')).optionalDependencies
  const files = ['dist', 'examples', 'THIRD-PARTY-LICENSES']
  return { name, version, description, license, type, engines, bin, files, optionalDependencies: { ...optionalDependencies, serialport } }
}

function readManifest(folder: string): Manifest {
  return JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as Manifest
}

async function bundle(entry: string, outdir: string, external: string[]): Promise<Metafile> {
  const { metafile } = await build({
    entryPoints: [entry],
    outdir,
    absWorkingDir: ROOT,
    bundle: true,
    splitting: true,
    format: 'esm',
    platform: 'node',
    target: NODE_OLDEST,
    external,
    // Names stay, for stack traces; a device holds the text in memory, so comments and blanks do not.
    minifySyntax: true,
    minifyWhitespace: true,
    legalComments: 'none',
    // The CommonJS libraries inside ask for Node's own modules by `require`.
    banner: { js: "import{createRequire as requireFrom}from'node:module';const require=requireFrom(import.meta.url);" },
    metafile: true,
    logLevel: 'warning'
  })
  return metafile
}

/** The texts that their licences want to be passed on, one a package. */
function licences(inputs: readonly string[]): string {
  const folders = new Set(inputs.filter(path => path.includes('node_modules/')).map(packageFolder))
  return [...folders]
    .sort()
    .map(folder => {
      const { name, version, license } = readManifest(folder)
      const file = readdirSync(folder).find(candidate => /^licen[cs]e/i.test(candidate))
      return `${name} ${version} (${license})\n\n${file === undefined ? '' : readFileSync(join(folder, file), 'utf8').trim()}\n`
    })
    .join(`\n${'-'.repeat(80)}\n\n`)
}

function packageFolder(input: string): string {
  let folder = dirname(join(ROOT, input))
  // some packages have a package.json without a name in a folder of their own, to say that it is ESM
  while (!existsSync(join(folder, 'package.json')) || readManifest(folder).name === undefined) folder = dirname(folder)
  return folder
}
