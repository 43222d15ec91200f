import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { runServer } from '../server/running-server.ts'
import { codeBlocks, readMarkdown } from '../support/markdown.ts'
import { ROOT, runBlock } from '../support/run-block.ts'

const ADDRESS = 'http://127.0.0.1:4100'
const blocksOf = (page: string, language: string) => codeBlocks(readMarkdown(page)).filter((block) => block.language === language)

describe('the pages about the interfaces', () => {
  test.each([
    ['docs/models.md', /\bsky\b/],
    ['docs/mcp.md', /status: 'COMPLETED'/],
    ['docs/observability.md', /address: '127\.0\.0\.1'/],
  ])('programs of the pages about the interfaces run with a new server: %s', { timeout: 300_000 }, async (page, printed) => {
    const programs = blocksOf(page, 'ts').map(({ code }) => code)
    expect(programs).not.toEqual([])
    const { url } = await runServer()
    for (const code of programs) expect(await runBlock(code.replaceAll(ADDRESS, url))).toMatch(printed)
  })

  test('JSON blocks of the pages about the interfaces are valid', () => {
    const blocks = ['docs/models.md', 'docs/mcp.md'].flatMap((page) => blocksOf(page, 'json'))
    expect(blocks).toHaveLength(3)
    for (const { code } of blocks) expect(JSON.parse(code)).toBeTypeOf('object')
  })

  test('every page with programs is run by a test', () => {
    const pages = readdirSync(join(ROOT, 'docs'), { recursive: true, encoding: 'utf8' })
      .filter((file) => file.endsWith('.md'))
      .map((file) => `docs/${file}`)
    const ofReadme = ['test/readme.system.test.ts', 'test/docs/tutorial.system.test.ts', 'test/docs/faces.system.test.ts']
    const ofPages = ['answers.system', 'mounting', 'vendors.integration'].map((name) => `test/docs/${name}.test.ts`)
    const tests = [...ofReadme, ...ofPages]
    const run = tests.map((file) => readFileSync(join(ROOT, file), 'utf8')).join('\n')
    const withPrograms = pages.filter((page) => blocksOf(page, 'ts').length > 0)
    expect(withPrograms.length).toBeGreaterThan(5)
    expect(withPrograms.filter((page) => !run.includes(`'${page}'`))).toEqual([])
  })
})
