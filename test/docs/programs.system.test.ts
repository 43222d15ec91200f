import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { codeBlocks, readMarkdown } from '../support/markdown.ts'
import { ROOT, typeErrors } from '../support/run-block.ts'

const pages = [
  'README.md',
  ...readdirSync(join(ROOT, 'docs'), { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.md'))
    .map((file) => `docs/${file}`),
]

// One check for all pages, since each takes as long as the types of the whole package do.
test('the programs of all pages have no type error, and a wrong one beside them has', () => {
  const programs = pages.flatMap((page) =>
    codeBlocks(readMarkdown(page))
      .filter(({ language }) => language === 'ts')
      .map(({ line, code }) => [`${page.replaceAll('/', '-')}-line-${line}.ts`, code] as const),
  )
  expect(programs.length).toBeGreaterThan(10)
  const errors = typeErrors({ ...Object.fromEntries(programs), 'wrong.ts': "import { nobody } from 'polyphony'\nnobody()" })
  expect(errors).toEqual([expect.stringMatching(/^wrong\.ts:/)])
})
