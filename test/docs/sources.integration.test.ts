import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Command } from 'commander'
import { expect, test } from 'vitest'
import { createProgram } from '../../src/cli/program.ts'
import { knownKeys } from '../../src/config/config-json-schema.ts'
import * as entry from '../../src/index.ts'
import { runServer } from '../server/running-server.ts'
import { codeIn, readMarkdown, tables } from '../support/markdown.ts'
import { ROOT } from '../support/run-block.ts'

const SOURCES = ['orchestra', 'supervisor', 'orchestrator', 'service']

const page = readMarkdown('docs/sources.md')
const tablesOfPage = tables(page)
const rows = tablesOfPage.flatMap((table) => table.rows)
const program = createProgram(() => {
  throw new Error('no command is run here')
})
const { exports: entryPoints }: { readonly exports: Readonly<Record<string, unknown>> } = JSON.parse(
  readFileSync(join(ROOT, 'package.json'), 'utf8'),
)

/** The command with these words, as far as there is one; the rest must be options of it. */
function isCommand(words: readonly string[]): boolean {
  let found: Command = program
  for (const [index, word] of words.entries()) {
    if (word.startsWith('--')) return words.slice(index).every((name) => found.options.some(({ long }) => long === name))
    const next = found.commands.find((command) => command.name() === word)
    if (!next) return false
    found = next
  }
  return found !== program
}

const isConfigKey = (path: string): boolean => {
  const keys = path.split('.')
  return knownKeys(keys.slice(0, -1)).includes(keys.at(-1) ?? '')
}

/** Whether what a row names as its evidence exists; routes are asked on their own. */
function exists(name: string): boolean {
  if (name.startsWith('polyphony ')) return isCommand(name.split(' ').slice(1))
  if (name.startsWith('polyphony/')) return Object.hasOwn(entryPoints, `.${name.slice('polyphony'.length)}`)
  if (name.includes('/') || existsSync(join(ROOT, name))) return existsSync(join(ROOT, name))
  return Object.hasOwn(entry, name) || isConfigKey(name)
}

const isRoute = (name: string) => /^[A-Z]+ \//.test(name)

test('every row of the page about the source documents says why, and names what exists', () => {
  expect(tablesOfPage.map(({ head }) => head[0])).toEqual(SOURCES.map((source) => `Part of the ${source}`))
  expect(rows.length).toBeGreaterThan(30)
  expect(rows.filter(([part, here, why]) => !part || !here || !why || why.length < 10)).toEqual([])
  const named = rows.map(([part, , , where = '']) => ({ part, names: codeIn(where) }))
  expect(named.filter(({ names }) => names.length === 0)).toEqual([])
  const missing = named.flatMap(({ names }) => names.filter((name) => !isRoute(name) && !exists(name)))
  expect(missing).toEqual([])
})

test('the check of the page finds what does not exist', () => {
  const wrong = ['polyphony fly', 'polyphony serve --fly', 'polyphony', 'polyphony/fly', 'src/fly.ts', 'Fly', 'server.fly']
  expect(wrong.filter(exists)).toEqual([])
})

test('every route that the page about the source documents names is one of the server', async () => {
  const { send } = await runServer()
  const routes = rows.flatMap(([, , , where = '']) => codeIn(where)).filter(isRoute)
  expect(routes).toContain('GET /redoc')
  expect(routes).toContain('POST /run-graph')
  for (const route of routes) {
    const [method = '', path = ''] = route.split(' ')
    const { status } = await send(method, path, method === 'POST' ? { body: {} } : {})
    expect([route, status], route).not.toEqual([route, 404])
    expect([route, status], route).not.toEqual([route, 405])
  }
  const unknown = await send('GET', '/fly')
  expect(unknown.status).toBe(404)
})
