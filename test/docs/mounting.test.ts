import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { codeBlocks, readMarkdown } from '../support/markdown.ts'
import { ROOT } from '../support/run-block.ts'

const FOLDER = join(ROOT, 'examples/mounting')

// What a page shows is what the tests of the examples ran.
test('the page about mounting shows the programs of the examples as they are', () => {
  const shown = codeBlocks(readMarkdown('docs/mounting.md')).map(({ code }) => code.trim())
  const programs = readdirSync(FOLDER, { recursive: true, encoding: 'utf8' }).filter((file) => /\.(?:ts|mjs)$/.test(file))
  expect(programs.length).toBeGreaterThanOrEqual(8)
  const missing = programs.filter((file) => !shown.includes(readFileSync(join(FOLDER, file), 'utf8').trim()))
  expect(missing).toEqual([])
})
