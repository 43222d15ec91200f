// Builds dist/: JavaScript by esbuild, types by tsc (see docs/decisions/0015-bundled-build.md).
import { execFileSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { isBuiltin } from 'node:module'
import { basename, dirname, join, posix, relative, resolve } from 'node:path'
import { build } from 'esbuild'

const outdir = process.argv[2] ?? 'dist'
const { dependencies } = JSON.parse(readFileSync('package.json', 'utf8'))
const SWAGGER_UI = 'node_modules/@fastify/swagger-ui/static'
/** An empty database, as src/repositories/postgres/embedded/database-seed.ts looks for it; a clone takes it from here. */
const SEED = `node_modules/.cache/polyphony/pglite-${JSON.parse(readFileSync('node_modules/@electric-sql/pglite/package.json', 'utf8')).version}.tgz`

/** Modules that bundled packages try to load and do without. They are not installed, so that a bundler of a user must not look for them. */
const OPTIONAL = ['bufferutil', 'utf-8-validate', 'pino-pretty', '@valkey/valkey-glide', 'msgpackr-extract', 'supports-color']

rmSync(outdir, { recursive: true, force: true })

/** Changes the text of files as they are read; a change whose text is not found any more ends the build. */
const changed = (filter, change) => ({
  name: `changed ${filter}`,
  setup({ onLoad }) {
    onLoad({ filter }, ({ path }) => {
      const before = readFileSync(path, 'utf8')
      const contents = change(before)
      if (contents === before) throw new Error(`${path}: the text to change was not found`)
      return { contents, loader: path.endsWith('.ts') ? 'ts' : 'js' }
    })
  },
})

const plugins = [
  // The source loads some packages by `require`, at first use and without a promise. esbuild knows the plain call only.
  changed(/[\\/]src[\\/](?:prompts[\\/](?:liquid|conditions[\\/]cel)|domain[\\/]answers[\\/]json-text)\.ts$/, (text) =>
    text.replace(/createRequire\(import\.meta\.url\)\(/g, 'require('),
  ),
  // The pages at /docs are files; the name is replaced below by the folder they are copied to.
  changed(/swagger-ui[\\/](?:index|lib[\\/]routes)\.js$/, (text) =>
    text.replace(/path\.join\(__dirname, (?:'\.\.', 'static'|'\.\/static\/logo\.svg')\)/, (found) =>
      found.includes('logo') ? "path.join(SWAGGER_UI_FILES, 'logo.svg')" : 'SWAGGER_UI_FILES',
    ),
  ),
  // The prepared database is a file beside the chunks.
  changed(/[\\/]src[\\/]repositories[\\/]postgres[\\/]embedded[\\/]database-seed\.ts$/, (text) =>
    text.replace(/new URL\(`.*`, import\.meta\.url\)/, 'PREPARED_DATABASE_FILE'),
  ),
  // It reads the version of its own package where none is given; one is.
  changed(
    /@fastify[\\/]swagger[\\/]lib[\\/]util[\\/]read-package-json\.js$/,
    () => 'module.exports = { readPackageJson: () => ({}) }',
  ),
  // Its index loads and runs all of it: WebSockets, caches, a `fetch`. What the source does not use would double the time until the first call.
  changed(/[\\/]undici[\\/]index\.js$/, () =>
    [
      "exports.Agent = require('./lib/dispatcher/agent')",
      "Object.defineProperty(exports, 'ProxyAgent', { enumerable: true, get: () => require('./lib/dispatcher/proxy-agent') })",
    ].join('\n'),
  ),
  // The WebAssembly of the tokenizer travels inside its chunk, where no bundler of a user can lose it.
  changed(/tiktoken[\\/]lite[\\/]tiktoken\.cjs$/, () =>
    [
      "import * as wasm from './tiktoken_bg.cjs'",
      "import bytes from './tiktoken_bg.wasm'",
      "const instance = new WebAssembly.Instance(new WebAssembly.Module(bytes), { './tiktoken_bg.js': wasm })",
      'wasm.__wbg_set_wasm(instance.exports)',
      'export const Tiktoken = wasm.Tiktoken',
    ].join('\n'),
  ),
]

/** Gives CommonJS packages that are loaded by `import()` the names that Node finds in them: in a bundle they would have `default` only. */
const named = {
  name: 'named',
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^(?:yaml|ioredis)$/ }, ({ kind, path }) =>
      kind === 'dynamic-import' ? { path, namespace: 'named' } : undefined,
    )
    onLoad({ filter: /.*/, namespace: 'named' }, async ({ path }) => {
      const names = Object.keys(await import(path)).filter((name) => name !== 'default' && name !== 'module.exports')
      return { contents: `import all from '${path}'\nexport const { ${names} } = all`, resolveDir: '.' }
    })
  },
}

const shared = {
  outdir,
  outbase: '.',
  bundle: true,
  splitting: true,
  format: 'esm',
  platform: 'node',
  target: 'node20.19',
  chunkNames: 'chunks/[name]-[hash]',
  logLevel: 'warning',
  legalComments: 'none',
  metafile: true,
  loader: { '.wasm': 'binary' },
  plugins: [...plugins, named],
}
const external = [...Object.keys(dependencies).filter((name) => name !== 'zod'), 'polyphony', ...OPTIONAL]

const builds = [
  await build({
    ...shared,
    entryPoints: ['src/index.ts', 'src/ai-sdk.ts', 'src/cli/main.ts', 'src/server/main.ts', 'templates/index.ts'],
    external,
  }),
  await build({ ...shared, entryPoints: ['examples/index.ts'], external }),
  // By itself, because programs that are services load nothing else.
  await build({ ...shared, entryPoints: ['src/service-agent/service-agent.ts'], splitting: false, minify: true }),
  // For browsers too: by itself, so that it shares no chunk with what runs in Node only.
  await build({ ...shared, entryPoints: ['src/client/client.ts'], splitting: false, platform: 'browser', target: 'es2022' }),
]

for (const { metafile } of builds) {
  for (const { entryPoint = '', exports } of Object.values(metafile.outputs)) {
    // What `import()` gives of a CommonJS package has names in Node, but only `default` in a bundle.
    if (entryPoint.includes('node_modules') && exports.join() === 'default' && !entryPoint.includes('tiktoken/encoders'))
      throw new Error(`${entryPoint}: loaded by import(), but it is CommonJS: its names would be lost`)
  }
}
for (const path of builds.flatMap(({ metafile }) => Object.keys(metafile.outputs))) linkNode(path)
cpSync(SWAGGER_UI, join(outdir, 'swagger-ui'), { recursive: true })
if (!existsSync(SEED)) await prepareDatabase()
cpSync(SEED, join(outdir, basename(SEED)))
writeLicenses(builds.flatMap(({ metafile }) => Object.keys(metafile.inputs)))

execFileSync(process.execPath, ['node_modules/typescript/bin/tsc', '-p', 'tsconfig.build.json', '--outDir', outdir], {
  stdio: 'inherit',
})
keepReachableTypes()

/** Takes as long as making a database does, so once for each version of PGlite. */
async function prepareDatabase() {
  const { PGlite } = await import('@electric-sql/pglite')
  const database = await PGlite.create('memory://')
  const archive = await database.dumpDataDir('gzip')
  await database.close()
  mkdirSync(dirname(SEED), { recursive: true })
  // Builds may run beside each other, and none must find half a file.
  const draft = `${SEED}.${process.pid}`
  writeFileSync(draft, Buffer.from(await archive.arrayBuffer()))
  renameSync(draft, SEED)
}

/** Bundled CommonJS packages reach modules of Node by a `require` that ES modules do not have: import them instead. */
function linkNode(path) {
  const text = readFileSync(path, 'utf8')
  const imports = new Map()
  let linked = text.replace(/\b__require\("([^"]+)"\)/g, (found, name) => {
    const module = name.startsWith('node:') ? name : `node:${name}`
    const local = `__${module.replace(/\W/g, '_')}`
    // `node:sqlite` is not in Node 20.
    if (isBuiltin(module) && module !== 'node:sqlite') imports.set(local, `${local} from "${module}"`)
    // The namespace, since a bundler of a user may find an ES module under this name, which has no default.
    else if (Object.hasOwn(dependencies, name)) imports.set(local, `* as ${local} from "${name}"`)
    // A name that is in no installation fails where it is loaded, as it does unbundled.
    else return found
    return local
  })
  let head = [...imports.values()].map((clause) => `import ${clause};\n`).join('')
  if (linked.includes('SWAGGER_UI_FILES')) {
    const files = posix.join(posix.relative(dirname(path), outdir), 'swagger-ui/')
    head += `import { fileURLToPath as __fileURLToPath } from "node:url";\n`
    linked = linked.replaceAll('SWAGGER_UI_FILES', `__fileURLToPath(new URL(${JSON.stringify(files)}, import.meta.url))`)
  }
  if (linked.includes('PREPARED_DATABASE_FILE')) {
    const file = posix.join(posix.relative(dirname(path), outdir), basename(SEED))
    linked = linked.replaceAll('PREPARED_DATABASE_FILE', `new URL(${JSON.stringify(file)}, import.meta.url)`)
  }
  if (head === '' && linked === text) return
  const hashbang = /^#!.*\n/.exec(linked)?.[0] ?? ''
  writeFileSync(path, hashbang + head + linked.slice(hashbang.length))
}

/** The licences of all packages that are inside the bundle. */
function writeLicenses(inputs) {
  const folders = new Set(inputs.flatMap((path) => /^.*node_modules\/(?:@[^/]+\/)?[^/]+/.exec(path.split('?')[0])?.[0] ?? []))
  folders.add(dirname(SWAGGER_UI))
  const sections = [...folders].map((folder) => {
    const { name, version, license, author } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'))
    const file = readdirSync(folder).find((entry) => /^(?:licen[cs]e|copying)/i.test(entry))
    const by = typeof author === 'string' ? author : author?.name
    const text =
      file === undefined ? `${license}${by === undefined ? '' : `, by ${by}`}` : readFileSync(join(folder, file), 'utf8')
    return { name, text: `${name} ${version} (${license})\n\n${text.trim()}\n` }
  })
  sections.sort((a, b) => (a.name < b.name ? -1 : 1))
  const rule = `\n${'-'.repeat(80)}\n\n`
  writeFileSync(
    join(outdir, 'THIRD-PARTY-LICENSES'),
    `These packages are inside the JavaScript of this package.\n${rule}${sections.map(({ text }) => text).join(rule)}`,
  )
}

/** Types of what no entry point leads to are of no use, and may speak of packages that users do not have. */
function keepReachableTypes() {
  const { exports } = JSON.parse(readFileSync('package.json', 'utf8'))
  const reached = new Set()
  const visit = (path) => {
    if (reached.has(path)) return
    reached.add(path)
    // Examples in docstrings import names too, which the types do not depend on.
    const types = readFileSync(path, 'utf8').replace(/^ *\/\*\*.*?\*\//gms, '')
    for (const [, name] of types.matchAll(/(?:\bfrom\s+|\bimport\(\s*)['"]([^'"]+)['"]/g)) {
      if (name.startsWith('.')) visit(resolve(dirname(path), name).replace(/\.[jt]s$/, '.d.ts'))
      else if (![...Object.keys(dependencies), 'polyphony'].includes(name) && !isBuiltin(name))
        throw new Error(`${relative('.', path)}: the public types speak of "${name}", which users do not have`)
    }
  }
  for (const { types } of Object.values(exports)) if (types) visit(resolve(types.replace(/^\.\/dist/, outdir)))
  for (const entry of readdirSync(outdir, { recursive: true, withFileTypes: true })) {
    const path = resolve(entry.parentPath, entry.name)
    if (entry.isFile() && path.endsWith('.d.ts') && !reached.has(path)) rmSync(path)
  }
}
