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

const TRADES = ['executors', 'providers', 'repositories', 'engines', 'calls', 'policies', 'telemetry', 'services']
const LANGUAGE = ['domain', 'prompts', 'config', 'protocol']
const CONDUCTORS = ['orchestrator', 'conversations']
const FACES = ['server', 'cli', 'client']
const MAX_LINES = 300

const listFiles = (folder: string): string[] =>
  readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith('.ts'))
    .map((entry) => relative(root, join(entry.parentPath, entry.name)).split(sep).join('/'))

const sources = [...listFiles('src'), ...listFiles('templates')]

/** Static, dynamic and re-exporting imports, and `import('…')` types. */
function importsOf(file: string): Import[] {
  const text = readFileSync(join(root, file), 'utf8')
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
const roomOf = (file: string): string => {
  if (file.startsWith('templates/')) return 'templates'
  const [, second = '', third] = file.split('/')
  return third === undefined ? second : second
}
const doorOf = (room: string): string =>
  `src/${room}/${room === 'policies' ? 'policy' : room === 'repositories' ? 'repository' : room.replace(/s$/, '')}.ts`
const shown = ({ from, to }: Import): string => `${from} → ${to}`

test('the reader of imports sees every import of this repository', () => {
  expect(sources.length).toBeGreaterThan(50)
  expect(imports.length).toBeGreaterThan(sources.length)
  for (const { from, to } of imports) expect(() => readFileSync(join(root, to)), `${from} imports ${to}`).not.toThrow()
})

test('a trade knows only itself, the language and the errors', () => {
  const wrong = imports.filter(({ from, to }) => {
    const room = roomOf(from)
    if (room === 'repositories' && to.startsWith('migrations/')) return false
    return TRADES.includes(room) && ![room, ...LANGUAGE, 'errors'].includes(roomOf(to))
  })
  expect(wrong.map(shown)).toEqual([])
})

test('domain knows only itself and the errors; prompts, config and protocol know domain besides', () => {
  const allowed: Record<string, readonly string[]> = {
    domain: ['domain', 'errors'],
    prompts: ['prompts', 'domain', 'errors'],
    config: ['config', 'domain', 'errors'],
    protocol: ['protocol', 'domain', 'errors'],
    errors: ['errors'],
  }
  const wrong = imports.filter(({ from, to }) => allowed[roomOf(from)]?.includes(roomOf(to)) === false)
  expect(wrong.map(shown)).toEqual([])
})

test('the conductor names the doors of trades by type only', () => {
  const wrong = imports.filter(({ from, to, typeOnly }) => {
    const room = roomOf(to)
    if (!CONDUCTORS.includes(roomOf(from)) || room === roomOf(from) || ['domain', 'prompts', 'errors'].includes(room))
      return false
    return !(TRADES.includes(room) && to === doorOf(room) && typeOnly)
  })
  expect(wrong.map(shown)).toEqual([])
})

test('only entry points and tests have the keys to the whole house', () => {
  const isEntry = (file: string) => file === 'src/index.ts' || FACES.includes(roomOf(file))
  const wrong = imports.filter(({ from, to }) => to === 'src/polyphony.ts' && !isEntry(from))
  expect(wrong.map(shown)).toEqual([])
})

test('faces name the services and the doors of trades by type; only a main.ts reaches further', () => {
  const wrong = imports.filter(({ from, to, typeOnly }) => {
    const room = roomOf(to)
    if (!FACES.includes(roomOf(from)) || from.endsWith('/main.ts')) return false
    if ([roomOf(from), ...LANGUAGE, 'errors', 'templates'].includes(room)) return false
    return !(typeOnly && (CONDUCTORS.includes(room) || (TRADES.includes(room) && to === doorOf(room))))
  })
  expect(wrong.map(shown)).toEqual([])
})

test('the client knows the protocol by type only, and nothing else: what it brings to a browser is its own', () => {
  const wrong = imports.filter(
    ({ from, to, typeOnly }) =>
      roomOf(from) === 'client' && roomOf(to) !== 'client' && !(typeOnly && !to.startsWith('src/server/')),
  )
  expect(wrong.map(shown)).toEqual([])
})

test('templates are data: they know domain and errors, nothing that runs', () => {
  const wrong = imports.filter(
    ({ from, to }) => roomOf(from) === 'templates' && !['templates', 'domain', 'errors'].includes(roomOf(to)),
  )
  expect(wrong.map(shown)).toEqual([])
})

test(`no source file is longer than ${MAX_LINES} lines`, () => {
  const long = sources.map((file) => ({ file, lines: readFileSync(join(root, file), 'utf8').trimEnd().split('\n').length }))
  expect(long.filter(({ lines }) => lines > MAX_LINES)).toEqual([])
})

test('no file re-exports everything of another, and index.ts stands only at the two doors to the outside', () => {
  const barrels = sources.filter((file) => /^export \*/m.test(readFileSync(join(root, file), 'utf8')))
  expect(barrels).toEqual([])
  const indexes = sources.filter((file) => file.endsWith('/index.ts'))
  expect(indexes.sort()).toEqual(['src/index.ts', 'templates/index.ts'])
})

test('no file is called utils, helpers or types', () => {
  expect(sources.filter((file) => /\/(utils?|helpers?|types?)\.ts$/.test(file))).toEqual([])
})

test('imports that run make no cycle', () => {
  const next = new Map<string, string[]>()
  for (const { from, to, typeOnly } of imports) if (!typeOnly) next.set(from, [...(next.get(from) ?? []), to])
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
  const foreignUnions = ['src/domain/definition-problems.ts', 'src/prompts/cel-nodes.ts']
  const withSwitch = sources
    .filter((file) => /\bswitch\s*\(/.test(readFileSync(join(root, file), 'utf8')))
    .filter((file) => !file.endsWith('/registry.ts') && !foreignUnions.includes(file))
  expect(withSwitch).toEqual([])
})

test('heavy libraries are loaded at first use, never with the module', () => {
  const heavy =
    /^import (?!type\b)[^'"\n]*from ['"](openai|@anthropic-ai\/sdk|@google\/generative-ai|typeorm|pg|@electric-sql\/pglite[^'"]*|tiktoken[^'"]*|@copilotkit\/aimock[^'"]*|@pydantic\/genai-prices|@opentelemetry\/api|prom-client|pino|fastify|@fastify\/[^'"]+|fastify-type-provider-zod|ws|jose|@modelcontextprotocol\/[^'"]+)['"]/m
  // These files are themselves loaded at first use, through a dynamic import.
  const lazyRooms =
    /^src\/repositories\/(?!repository\.ts|memory-|database\.ts)|^src\/providers\/(simulator|openai|anthropic|google)|^src\/telemetry\/(tracing|metrics|logs)\.ts|^src\/server\//
  const eager = sources.filter((file) => !lazyRooms.test(file) && heavy.test(readFileSync(join(root, file), 'utf8')))
  expect(eager).toEqual([])
})
