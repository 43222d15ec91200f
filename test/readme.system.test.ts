import { execFile } from 'node:child_process'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { isDeepStrictEqual, promisify } from 'node:util'
import type { Command } from 'commander'
import { describe, expect, test } from 'vitest'
import { parse } from 'yaml'
import { createProgram } from '../src/cli/program.ts'
import { loadConfig } from '../src/config/config.ts'
import type { FlowDefinitionInput } from '../src/domain/definition/flow-definition.ts'
import { ERROR_CODES } from '../src/errors/error-codes.ts'
import { createParser } from '../src/polyphony.ts'
import { DEFAULT_MODELS } from '../templates/default-models.ts'
import { flowTemplates } from '../templates/index.ts'
import { type CodeBlock, codeBlocks, codeIn, readMarkdown, tableOf } from './support/markdown.ts'
import { openTestPolyphony } from './support/polyphony.ts'
import { ROOT, runBlock } from './support/run-block.ts'

const readme = readMarkdown('README.md')
const PAGES = [
  'README.md',
  'docs/adding-a-provider.md',
  'docs/adding-a-template.md',
  'docs/client.md',
  'docs/pools.md',
  'docs/waiting.md',
  'docs/errors.md',
  'CONTRIBUTING.md',
]
const blocks = PAGES.flatMap((page) => codeBlocks(readMarkdown(page)).map((block) => ({ page, ...block })))
const blocksIn = (language: string) => blocks.filter((block) => block.language === language)
const nameOf = ({ page, line }: CodeBlock & { readonly page: string }) => `${page}, line ${line}`
const manifest: { readonly [Key in 'scripts' | 'dependencies' | 'devDependencies']: Readonly<Record<string, string>> } =
  JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'))

describe('every block of code', () => {
  test('every code block of the README is of a kind that a test runs or compares', () => {
    expect(blocks.length).toBeGreaterThan(10)
    expect(blocks.filter(({ language }) => !['ts', 'yaml', 'sh', 'text'].includes(language)).map(nameOf)).toEqual([])
  })

  test.each(blocksIn('ts').map((block) => [nameOf(block), block.code] as const))(
    'a program of the README runs to its end: %s',
    { timeout: 300_000 },
    async (_, code) => {
      expect((await runBlock(code)).trim()).not.toBe('')
    },
  )

  const isConfig = ({ code }: CodeBlock) => code.startsWith('# polyphony.yaml')
  const configs = blocksIn('yaml').filter(isConfig)
  const definitions = blocksIn('yaml').filter((block) => !isConfig(block))

  test.each(definitions.map((block) => [nameOf(block), block.code] as const))(
    'a definition of the README runs: %s',
    async (_, code) => {
      const written: FlowDefinitionInput = parse(code)
      const definition = createParser().parse(written)
      const polyphony = await openTestPolyphony({ simulator: true })
      const { orchestrator, conversations, dataSharing } = polyphony
      for (const { provider } of definition.steps) {
        await dataSharing.set('ada', provider, { allowCrossProviderContext: true, allowConversationHistory: true })
      }
      const thread = await conversations.createThread('ada')
      const flow = await orchestrator.createFlow(thread.id, 'ada', written)
      const result = await orchestrator.executeFlow(flow.id, 'ada', { input: 'a text', metadata: { language: 'French' } })
      await polyphony.close()
      expect(result.steps.map(({ status }) => status)).toEqual(definition.steps.map(() => 'SUCCESS'))
    },
  )

  test.each(configs.map((block) => [nameOf(block), block.code] as const))(
    'a configuration of the README gives models to steps, and no setting repeats a default: %s',
    async (_, code) => {
      const { models, withoutEffect } = await effectOf(code)
      expect(models).not.toEqual([])
      expect(withoutEffect).toEqual([])
    },
  )

  test('these tests reject a configuration without a provider or pool, and settings that change nothing', async () => {
    expect(await effectOf('# polyphony.yaml\n')).toEqual({ models: [], withoutEffect: [] })
    expect(await effectOf('logLevel: warn\nengine: local\n')).toEqual({ models: [], withoutEffect: ['engine', 'logLevel'] })
    expect(await effectOf('budgets:\n  - { name: all, scope: user, window: day, maxFlows: 5 }\n')).toMatchObject({ models: [] })
    expect(await effectOf('providers:\n  desk: { preset: ollama, active: false }\n')).toMatchObject({ models: [] })
    expect(await effectOf('providers:\n  desk: { preset: ollama }\n')).toEqual({ models: ['desk'], withoutEffect: [] })
  })

  const lines = blocksIn('sh').flatMap((block) => block.code.split('\n').map((line) => [line, nameOf(block)] as const))
  test.each(lines)('a command of the README exists: %s (%s)', (line) => {
    for (const command of line.split(' && ')) expect(missingIn(command)).toEqual([])
  })

  test('these tests reject an unknown command, script or option in the README', () => {
    expect(missingIn('npm run nothing')).toEqual(['script nothing'])
    expect(missingIn('npm run -s polyphony -- fly')).toEqual(['command fly'])
    expect(missingIn('npm start -- --colour')).toEqual(['option --colour'])
    expect(missingIn('npm run -s polyphony -- flows list --colour')).toEqual(['option --colour'])
    expect(missingIn('npx tsx --conditions=source examples/99.ts')).toEqual(['file examples/99.ts'])
    expect(missingIn('make')).toEqual(['make'])
  })
})

/** The providers and pools that a configuration gives to steps, and its settings that have the value of the default. */
async function effectOf(code: string) {
  const directory = await mkdtemp(join(tmpdir(), 'polyphony-readme-'))
  try {
    const defaults = await loadConfig({}, { env: {}, cwd: directory })
    await writeFile(join(directory, 'polyphony.yaml'), code)
    const config = await loadConfig({}, { env: {}, cwd: directory })
    const { providers, pools, sources } = config
    const active = Object.entries(providers).filter(([, account]) => !('active' in account) || account.active)
    const isDefault = (path: readonly PropertyKey[]) => isDeepStrictEqual(valueAt(config, path), valueAt(defaults, path))
    const withoutEffect = [...sources].flatMap(([key, { path }]) => (isDefault(path) ? [key] : []))
    return { models: [...active.map(([id]) => id), ...Object.keys(pools)], withoutEffect: withoutEffect.toSorted() }
  } finally {
    await rm(directory, { recursive: true })
  }
}

const valueAt = (value: unknown, path: readonly PropertyKey[]): unknown =>
  path.reduce<unknown>((inner, key) => (inner === undefined ? undefined : Reflect.get(Object(inner), key)), value)

/** What a command line names and the project does not have. */
function missingIn(line: string): readonly string[] {
  const words: readonly string[] = line.match(/"[^"]*"|\S+/g) ?? []
  const [tool, verb, ...rest] = words
  if (line === 'npm ci') return []
  if (tool === 'npm') {
    const script = verb === 'test' || verb === 'start' ? verb : rest.find((word) => !word.startsWith('-'))
    if (script === undefined || !(script in manifest.scripts)) return [`script ${script}`]
    const separator = words.indexOf('--')
    const given = separator < 0 ? [] : words.slice(separator + 1)
    if (script === 'start') return missingInProgram(['serve', ...given])
    return script === 'polyphony' ? missingInProgram(given) : []
  }
  if (tool === 'npx') {
    if (verb === undefined || !existsSync(join(ROOT, 'node_modules/.bin', verb))) return [`program ${verb}`]
    return rest.filter((word) => word.includes('/') && !existsSync(join(ROOT, word))).map((word) => `file ${word}`)
  }
  return [line]
}

function missingInProgram(words: readonly string[]): readonly string[] {
  let command: Command = createProgram(() => {
    throw new Error('expected nothing to run')
  })
  const rest = [...words]
  while (rest.length > 0 && command.commands.length > 0) {
    const name = rest.shift()
    const next = command.commands.find((candidate) => candidate.name() === name)
    if (!next) return [`command ${name}`]
    command = next
  }
  const known = command.options.flatMap(({ long, short }) => [long, short])
  return rest.filter((word) => word.startsWith('-') && !known.includes(word)).map((word) => `option ${word}`)
}

describe('the two commands at the top', () => {
  const [demo, tests] = blocks.filter(({ page, language }) => page === 'README.md' && language === 'sh')

  test('the README begins with the two commands', () => {
    expect([demo?.code, tests?.code]).toEqual(['npm ci && npm run demo', 'npm ci && npm test'])
    expect(tests?.line).toBeLessThan(40)
  })

  test('the demo prints the ten lines of the README in this order, except for ids and times', {
    timeout: 300_000,
  }, async () => {
    const env = { PATH: process.env.PATH, HOME: process.env.HOME, DATABASE_URL: 'memory://', NO_COLOR: '1' }
    const { stdout } = await promisify(execFile)('npm', ['run', 'demo'], { cwd: ROOT, env })
    const shown = timeless(blocks.find(({ page, language }) => page === 'README.md' && language === 'text')?.code ?? '')
    expect(shown).toHaveLength(10)
    const printed = timeless(stdout).filter((line) => shown.includes(line))
    expect(printed).toEqual(shown)
  })
})

/** Lines without what differs from run to run: ids, durations, and the width of the columns that hold them. */
const timeless = (text: string): readonly string[] =>
  text
    .replace(/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/g, '<id>')
    .replace(/\d+(\.\d+)? m?s\b/g, '<time>')
    .split('\n')
    .map((line) => line.replace(/\s+/g, ' ').trim())
    .filter((line) => line !== '')

describe('the tables', () => {
  test('docs/errors.md has a row for every code, with its facts', () => {
    const rows = tableOf(readMarkdown('docs/errors.md'), 'Code').map((row) =>
      row.map((cell) => cell.replace(/^`([^`]*)`$/, '$1')),
    )
    const expected = Object.entries(ERROR_CODES).map(([code, facts]) => [
      code,
      String(facts.httpStatus),
      String(facts.exitCode),
      facts.retryable ? 'yes' : 'no',
      facts.remedy,
    ])
    expect(rows).toEqual(expected)
  })

  test('the table of modules has a row for every folder of src with an existing contract file', () => {
    const rows = tableOf(readme, 'Layer')
    const modules = rows.map(([, module = '']) => codeIn(module)[0])
    const folders = readdirSync(join(ROOT, 'src'), { withFileTypes: true }).filter((entry) => entry.isDirectory())
    expect(modules.toSorted()).toEqual(folders.map(({ name }) => name).toSorted())
    for (const [, module = '', contract = ''] of rows) {
      const path = `src/${codeIn(module)[0]}/${codeIn(contract)[0]}`
      expect(existsSync(join(ROOT, path)), path).toBe(true)
    }
  })

  test('the table of templates has a row for each template with its function', () => {
    const rows = tableOf(readme, 'Template').map(([name = '', create = '']) => [codeIn(name)[0], codeIn(create)[0]])
    expect(rows).toEqual(Object.entries(flowTemplates).map(([name, create]) => [name, create.name]))
  })

  test('the table of variables names only variables that are read', () => {
    const read = readFileSync(join(ROOT, 'src/config/environment.ts'), 'utf8')
    const named = tableOf(readme, 'Variable').flatMap(([names = '']) => codeIn(names))
    expect(named.length).toBeGreaterThan(5)
    // A setting may have several names, in one text.
    const names = new Set([...read.matchAll(/'([A-Z0-9_ ]+)'/g)].flatMap(([, text = '']) => text.split(' ')))
    expect(named.filter((name) => !names.has(name))).toEqual([])
  })
})

/** Anchors of the headings of a page, as GitHub makes them. */
const anchorsOf = (markdown: string): readonly string[] =>
  [...markdown.matchAll(/^#+ (.*)$/gm)].map(([, heading = '']) =>
    heading
      .toLowerCase()
      .replace(/[^\p{L}\p{N}\s_-]/gu, '')
      .replaceAll(' ', '-'),
  )

describe('the other pages', () => {
  const listPages = () => [
    'README.md',
    'CHANGELOG.md',
    'CONTRIBUTING.md',
    ...readdirSync(join(ROOT, 'docs'), { recursive: true, encoding: 'utf8' }).map((file) => `docs/${file}`),
  ]
  const pages = listPages().filter((page) => page.endsWith('.md'))

  test('the pages link only to existing files and headings', () => {
    const links = pages.flatMap((page) =>
      [...readMarkdown(page).matchAll(/\]\(([^)#\s]*)(?:#([^)\s]*))?\)/g)]
        .filter(([, target = '']) => !/^https?:/.test(target))
        .map(([, target = '', anchor]) => ({ page, path: target === '' ? page : join(dirname(page), target), anchor })),
    )
    expect(links.length).toBeGreaterThan(30)
    const dead = links.filter(
      ({ path, anchor }) =>
        !existsSync(join(ROOT, path)) || (anchor !== undefined && !anchorsOf(readMarkdown(path)).includes(anchor)),
    )
    expect(dead).toEqual([])
  })

  test('the pages name only existing files', () => {
    const named = pages.flatMap((page) =>
      codeIn(readMarkdown(page))
        .filter((code) => /^(src|test|templates|examples|docs|migrations)\/[\w./-]+$/.test(code))
        .map((code) => [page, code] as const),
    )
    expect(named.length).toBeGreaterThan(10)
    expect(named.filter(([, path]) => !existsSync(join(ROOT, path))).map((pair) => pair.join(': '))).toEqual([])
  })

  test('the pages name models that the templates use', () => {
    const known = Object.entries(DEFAULT_MODELS).flatMap(([id, tiers]) => Object.values(tiers).map((model) => `${id}/${model}`))
    const named = PAGES.flatMap(
      (page) => readMarkdown(page).match(/\b(openai|anthropic|google)\/(gpt|claude|gemini)[\w.-]*/g) ?? [],
    )
    expect([...new Set(named)].filter((model) => !known.includes(model))).toEqual([])
  })

  test('docs/dependencies.md lists exactly the dependencies of package.json with their versions', () => {
    const text = readMarkdown('docs/dependencies.md')
    const versions = { ...manifest.dependencies, ...manifest.devDependencies }
    const [runtime = '', development = '', unused = ''] = text.split(/^## .*$/m).slice(1)
    const rows = (part: string) =>
      Object.fromEntries(tableOf(part, 'Package').map(([name = '', version = '']) => [codeIn(name)[0], version]))
    const listed = { ...rows(runtime), ...rows(development) }
    const notUsed = rows(unused)
    expect(Object.keys(versions).filter((name) => !(name in listed) && !(name in notUsed))).toEqual([])
    for (const [name, version] of Object.entries(listed)) expect([name, version]).toEqual([name, versions[name]])
  })

  test('docs/traps.md answers all twelve traps, each with a test of its number and with existing tests', () => {
    const rows = tableOf(readMarkdown('docs/traps.md'), 'Trap')
    expect(rows.map(([trap]) => trap)).toEqual(Array.from({ length: 12 }, (_, index) => `S4-T${index + 1}`))
    const tests = readFileSync(join(ROOT, 'test/traps.integration.test.ts'), 'utf8')
    for (const [trap, , , further = ''] of rows) {
      expect(tests).toContain(`test('${trap}: `)
      const [file] = codeIn(further)
      const name = /"([^"]+)"/.exec(further)?.[1]
      if (file && name) expect(readFileSync(join(ROOT, file), 'utf8')).toContain(`test('${name}'`)
    }
  })

  test('decision records state context, decision, consequences and alternatives, numbered without a gap', () => {
    const files = readdirSync(join(ROOT, 'docs/decisions')).toSorted()
    expect(files.length).toBeGreaterThanOrEqual(6)
    for (const [index, file] of files.entries()) {
      const text = readMarkdown(`docs/decisions/${file}`)
      expect(file).toMatch(new RegExp(`^${String(index + 1).padStart(4, '0')}-[a-z0-9-]+\\.md$`))
      expect(text).toMatch(new RegExp(`^# ${index + 1}\\. `))
      for (const part of ['Context', 'Decision', 'Consequences', 'What else was considered'])
        expect(text).toContain(`\n## ${part}\n`)
    }
  })
})
