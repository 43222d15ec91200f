import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative, resolve, sep } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'

const root = resolve(dirname(fileURLToPath(import.meta.url)), '..')

interface Import {
  readonly from: string
  readonly to: string
  readonly typeOnly: boolean
}

const ADAPTERS = [
  'executors',
  'providers',
  'repositories',
  'notifications',
  'engines',
  'calls',
  'policies',
  'telemetry',
  'webhooks',
  'caches',
  'services',
  'events',
]
const CORE = ['domain', 'prompts', 'config', 'protocol']
const BASE = ['errors', 'async', 'system']
const APPLICATION = ['orchestrator', 'conversations']
const INTERFACES = ['server', 'cli', 'client', 'ui-messages', 'facades', 'service-agent']
const MAX_LINES = 300
const MIN_LINES = 5
const MAX_FILES_PER_FOLDER = 15

const listFiles = (folder: string): string[] =>
  readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith('.ts'))
    .map((entry) => relative(root, join(entry.parentPath, entry.name)).split(sep).join('/'))

const sources = [...listFiles('src'), ...listFiles('templates')]

/** Static, dynamic and re-exporting imports, and `import('…')` types. Those of examples in docstrings are left out. */
function importsOf(file: string): Import[] {
  const text = readFileSync(join(root, file), 'utf8').replace(/^ *\/\*\*.*?\*\//gms, '')
  const found: Import[] = []
  const add = (specifier: string | undefined, typeOnly: boolean) => {
    if (!specifier?.startsWith('.')) return
    const to = relative(root, resolve(root, dirname(file), specifier))
      .split(sep)
      .join('/')
    found.push({ from: file, to, typeOnly })
  }
  for (const match of text.matchAll(/^\s*(?:import|export)\s+(type\s+)?(?:[^'"()]*?\s+from\s+)?['"]([^'"]+)['"]/gm)) {
    add(match[2], match[1] !== undefined)
  }
  for (const match of text.matchAll(/(typeof\s+)?import\(\s*['"]([^'"]+)['"]\s*\)(\.[A-Z])?/g)) {
    add(match[2], match[1] !== undefined || match[3] !== undefined)
  }
  return found
}

const imports = sources.flatMap(importsOf)
const moduleOf = (file: string): string => {
  if (file.startsWith('templates/')) return 'templates'
  const [, second = '', third] = file.split('/')
  return third === undefined ? second : second
}
const SINGULARS: Record<string, string> = { policies: 'policy', repositories: 'repository' }
const contractOf = (module: string): string => `src/${module}/${SINGULARS[module] ?? module.replace(/s$/, '')}.ts`
const shown = ({ from, to }: Import): string => `${from} → ${to}`

/** Imports between modules that the rule of the importing module does not allow. */
const forbidden = (allowed: (from: string, to: string, found: Import) => boolean): string[] =>
  imports
    .filter((found) => moduleOf(found.from) !== moduleOf(found.to))
    .filter((found) => !allowed(moduleOf(found.from), moduleOf(found.to), found))
    .map(shown)

test('the reader of imports sees every import of this repository', () => {
  expect(sources.length).toBeGreaterThan(50)
  expect(imports.length).toBeGreaterThan(sources.length)
  for (const { from, to } of imports) expect(() => readFileSync(join(root, to)), `${from} imports ${to}`).not.toThrow()
})

test('every folder of src belongs to a layer', () => {
  const folders = readdirSync(join(root, 'src'), { withFileTypes: true }).filter((entry) => entry.isDirectory())
  const known = [...ADAPTERS, ...CORE, ...BASE, ...APPLICATION, ...INTERFACES, 'composition']
  expect(folders.map(({ name }) => name).sort()).toEqual(known.sort())
})

test('base modules import nothing of the repository but each other', () => {
  expect(forbidden((from, to) => !BASE.includes(from) || BASE.includes(to))).toEqual([])
})

test('domain imports only base modules; prompts, config and protocol import domain as well', () => {
  expect(forbidden((from, to) => !CORE.includes(from) || BASE.includes(to) || (from !== 'domain' && to === 'domain'))).toEqual([])
})

test('an adapter imports only core and base modules, never another adapter', () => {
  const isMigration = ({ from, to }: Import) => moduleOf(from) === 'repositories' && to.startsWith('migrations/')
  expect(
    forbidden((from, to, found) => !ADAPTERS.includes(from) || [...CORE, ...BASE].includes(to) || isMigration(found)),
  ).toEqual([])
})

test('the application layer names contracts of adapters by type only', () => {
  expect(
    forbidden((from, to, found) => {
      if (!APPLICATION.includes(from) || ['domain', 'prompts', ...BASE].includes(to)) return true
      return ADAPTERS.includes(to) && found.to === contractOf(to) && found.typeOnly
    }),
  ).toEqual([])
})

test('only entry points and composition import composition', () => {
  const isEntry = (file: string) => file === 'src/index.ts' || file === 'src/polyphony.ts' || INTERFACES.includes(moduleOf(file))
  const wrong = imports.filter(
    ({ from, to }) =>
      (to === 'src/polyphony.ts' && !isEntry(from)) ||
      (moduleOf(to) === 'composition' &&
        !['composition', 'polyphony.ts'].includes(moduleOf(from)) &&
        from !== 'src/facades/main.ts'),
  )
  expect(wrong.map(shown)).toEqual([])
})

test('interfaces name application services and contracts of adapters by type; only a main.ts imports more', () => {
  expect(
    forbidden((from, to, { from: file, to: target, typeOnly }) => {
      if (!INTERFACES.includes(from) || file.endsWith('/main.ts')) return true
      if ([...CORE, ...BASE, 'templates'].includes(to)) return true
      // The types of the package contain what every executor adds to the settings of definitions.
      if (file === 'src/client/client.ts' && target === 'src/executors/registry.ts') return typeOnly
      return typeOnly && (APPLICATION.includes(to) || (ADAPTERS.includes(to) && target === contractOf(to)))
    }),
  ).toEqual([])
})

test('the interfaces of the server never import each other, and the folders they share import none of them', () => {
  const interfaces = ['http', 'socket', 'models', 'mcp', 'swarm']
  const folderOf = (file: string) => /^src\/server\/([^/]+)\//.exec(file)?.[1]
  const wrong = imports.filter(({ from, to }) => {
    const [own, other] = [folderOf(from), folderOf(to)]
    return own !== undefined && other !== undefined && own !== other && interfaces.includes(other)
  })
  expect(wrong.map(shown)).toEqual([])
})

test('the client imports types and the module async, so that a browser loads nothing else', () => {
  expect(
    forbidden(
      (from, _to, found) =>
        from !== 'client' || (found.typeOnly && !found.to.startsWith('src/server/')) || moduleOf(found.to) === 'async',
    ),
  ).toEqual([])
})

test('templates are data: they import only domain and base modules', () => {
  expect(forbidden((from, to) => from !== 'templates' || ['domain', ...BASE].includes(to))).toEqual([])
})

test(`a folder of src holds at most ${MAX_FILES_PER_FOLDER} files beside each other`, () => {
  const counts = new Map<string, number>()
  for (const file of sources) counts.set(dirname(file), (counts.get(dirname(file)) ?? 0) + 1)
  expect([...counts].filter(([, count]) => count > MAX_FILES_PER_FOLDER)).toEqual([])
})

test(`a source file has ${MIN_LINES} to ${MAX_LINES} lines`, () => {
  const long = sources.map((file) => ({ file, lines: readFileSync(join(root, file), 'utf8').trimEnd().split('\n').length }))
  expect(long.filter(({ lines }) => lines > MAX_LINES || lines < MIN_LINES)).toEqual([])
})

test('no file re-exports everything of another, and index.ts exists only at the two entries of the package', () => {
  const barrels = sources.filter((file) => /^export \*/m.test(readFileSync(join(root, file), 'utf8')))
  expect(barrels).toEqual([])
  const indexes = sources.filter((file) => file.endsWith('/index.ts'))
  expect(indexes.sort()).toEqual(['src/index.ts', 'templates/index.ts'])
})

test('no file is called utils, helpers or types', () => {
  expect(sources.filter((file) => /\/(utils?|helpers?|types?)\.ts$/.test(file))).toEqual([])
})

test('imports make no cycle, type imports included', () => {
  const next = new Map<string, string[]>()
  for (const { from, to } of imports) next.set(from, [...(next.get(from) ?? []), to])
  const cycles: string[] = []
  const state = new Map<string, 'open' | 'done'>()
  const walk = (file: string, path: readonly string[]) => {
    if (state.get(file) === 'open') cycles.push([...path.slice(path.indexOf(file)), file].join(' → '))
    if (state.has(file)) return
    state.set(file, 'open')
    for (const to of next.get(file) ?? []) walk(to, [...path, file])
    state.set(file, 'done')
  }
  for (const file of sources) walk(file, [])
  expect(cycles).toEqual([])
})

test('no code branches over our variants with switch outside a registry', () => {
  // These translate the closed unions of a library (zod's issues, the nodes of CEL), not variants of ours.
  const foreignUnions = ['src/domain/definition/problems.ts', 'src/prompts/conditions/cel-nodes.ts']
  const withSwitch = sources
    .filter((file) => /\bswitch\s*\(/.test(readFileSync(join(root, file), 'utf8')))
    .filter((file) => !file.endsWith('/registry.ts') && !foreignUnions.includes(file))
  expect(withSwitch).toEqual([])
})

test('heavy libraries are loaded at first use, never with the module', () => {
  const heavy =
    /^import (?!type\b)[^'"\n]*from ['"](openai|@anthropic-ai\/sdk|@google\/generative-ai|typeorm|pg|@electric-sql\/pglite[^'"]*|tiktoken[^'"]*|@copilotkit\/aimock[^'"]*|@pydantic\/genai-prices|@opentelemetry\/api|prom-client|pino|fastify|@fastify\/[^'"]+|fastify-type-provider-zod|ws|jose|bullmq|ioredis|@modelcontextprotocol\/[^'"]+)['"]/m
  // These files are themselves loaded at first use, through a dynamic import.
  const lazyModules =
    /^src\/repositories\/postgres\/|^src\/engines\/bullmq\/|^src\/providers\/(simulator|openai|anthropic|google)|^src\/telemetry\/(tracing|metrics|service-metrics|logs)\.ts|^src\/server\//
  const eager = sources.filter((file) => !lazyModules.test(file) && heavy.test(readFileSync(join(root, file), 'utf8')))
  expect(eager).toEqual([])
})
