import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { codeIn, readMarkdown } from '../support/markdown.ts'
import { ROOT } from '../support/run-block.ts'

const page = readMarkdown('CONTRIBUTING.md')

interface Recipe {
  readonly title: string
  /** What the title says. */
  readonly count: number
  /** Paths of the list that the title counts. */
  readonly needed: readonly string[]
  /** Paths that are named anywhere in the recipe. */
  readonly named: readonly string[]
  /** The regular expression and the folders of the command that finds the files of the example. */
  readonly search: { readonly pattern: RegExp; readonly within: readonly string[] }
}

const isPath = (code: string) => /^(src|test|templates|migrations|docs|examples)\/\S+$|^[\w-]+\.(md|json|mjs)$/.test(code)

const recipes = page.split(/^## /m).slice(1).map(toRecipe)

function toRecipe(section: string): Recipe {
  const [, title = '', count = ''] = /^(.+): (\d+) files$/m.exec(section) ?? []
  const [required = ''] = section.split('Where it fits')
  const [, quote = '', pattern = '', folders = ''] = /^Find them: `git grep -lE (['"])(.+)\1 (.+)`$/m.exec(section) ?? []
  const listed = required.split('\n').filter((line) => line.startsWith('- '))
  if (title === '' || quote === '') throw new Error(`expected a title with a count and a search in "${section.slice(0, 40)}"`)
  return {
    title,
    count: Number(count),
    needed: listed.flatMap((line) => codeIn(line).filter(isPath).slice(0, 1)),
    named: codeIn(section).filter(isPath),
    search: { pattern: new RegExp(pattern), within: folders.split(' ') },
  }
}

function filesWithin(path: string): readonly string[] {
  if (!statSync(join(ROOT, path)).isDirectory()) return [path]
  return readdirSync(join(ROOT, path), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(ROOT.length).replaceAll('\\', '/'))
}

describe('the page about contributing', () => {
  test('CONTRIBUTING has a recipe for everything that is added more than once', () => {
    expect(recipes.map(({ title }) => title)).toEqual([
      'A compatible service',
      'A provider',
      'A flow type',
      'A layer around calls',
      'A template',
      'An error code',
      'An HTTP route',
      'A WebSocket message',
      'An MCP tool',
      'A CLI command',
      'A service method',
      'A database column',
      'An engine',
      'A store',
    ])
  })

  test('CONTRIBUTING names only existing files', () => {
    const named = codeIn(page).filter(isPath)
    expect(named.length).toBeGreaterThan(80)
    expect(named.filter((path) => !existsSync(join(ROOT, path)))).toEqual([])
  })

  test.each(recipes.map((recipe) => [recipe.title, recipe] as const))(
    'CONTRIBUTING counts the files that a recipe lists: %s',
    (_, recipe) => {
      expect(new Set(recipe.needed).size).toBe(recipe.count)
      expect(recipe.needed).toHaveLength(recipe.count)
    },
  )

  test.each(recipes.map((recipe) => [recipe.title, recipe] as const))(
    'a recipe in CONTRIBUTING leaves out no file of its example: %s',
    (_, recipe) => {
      const { pattern, within } = recipe.search
      const found = within.flatMap(filesWithin).filter((file) => pattern.test(readFileSync(join(ROOT, file), 'utf8')))
      expect(found.length).toBeGreaterThan(1)
      expect(found.filter((file) => !recipe.named.includes(file))).toEqual([])
    },
  )
})
