import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { BANNED_IN_COMMENTS } from '../support/language.ts'
import { readMarkdown } from '../support/markdown.ts'
import { ROOT } from '../support/run-block.ts'

/** The ids of requirements are names of tests there; remedies of the error table are compared with their own source. */
const EXCEPT = ['docs/traps.md', 'docs/errors.md']

const pages = [
  'README.md',
  'CONTRIBUTING.md',
  ...readdirSync(join(ROOT, 'docs'), { recursive: true, encoding: 'utf8' }).map((file) => `docs/${file}`),
].filter((page) => page.endsWith('.md') && !EXCEPT.includes(page))

test('the pages use the plain words that comments use', () => {
  const found = pages.flatMap((page) =>
    readMarkdown(page)
      .replace(/^```.*?^```$/gms, (block) => block.replace(/[^\n]/g, ''))
      .replace(/`[^`\n]*`/g, '`…`')
      .replace(/\]\([^)]*\)/g, '](…)')
      .split('\n')
      .flatMap((line, index) =>
        BANNED_IN_COMMENTS.flatMap(([pattern, instead]) =>
          pattern.test(line) ? [`${page}:${index + 1} "${pattern.exec(line)?.[0].trim()}": ${instead}`] : [],
        ),
      ),
  )
  expect(pages.length).toBeGreaterThan(30)
  expect(found).toEqual([])
})
