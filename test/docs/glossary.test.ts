import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { codeIn, readMarkdown } from '../support/markdown.ts'
import { ROOT } from '../support/run-block.ts'

const entries = [...readMarkdown('docs/glossary.md').matchAll(/^- \*\*(.+?)\*\*: (.+)$/gm)].map(([, term = '', text = '']) => ({
  term,
  text,
}))
const terms = entries.map(({ term }) => term)

/** Everything that is code or settings: sources, templates, and the names of folders. */
const sources = ['src', 'templates'].flatMap((folder) =>
  readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ts'))
    .map((file) => `${folder}/${file}\n${readFileSync(join(ROOT, folder, file), 'utf8')}`),
)

describe('the glossary', () => {
  test('defines every term once, in one or two sentences', () => {
    expect(terms.length).toBeGreaterThanOrEqual(40)
    expect(terms.filter((term, index) => terms.indexOf(term) !== index)).toEqual([])
    const sentences = ({ text }: { readonly text: string }) =>
      text.replaceAll(/`[^`]*`|\S+\.md/g, 'code').match(/\.( |$)/g)?.length
    expect(entries.filter((entry) => ![1, 2].includes(sentences(entry) ?? 0))).toEqual([])
  })

  test('defines every term that the README sets in italics', () => {
    const prose = readMarkdown('README.md').replaceAll(/^```.*?^```/gms, '')
    const used = [...prose.matchAll(/(?<!\*)\*([^*\n]+)\*(?!\*)/g)].map(([, term = '']) => term)
    const known = new Set([...terms, 'italics'])
    expect(used.length).toBeGreaterThan(10)
    expect(used.filter((term) => !known.has(term))).toEqual([])
  })

  test('the glossary names in code only names that exist in the sources', () => {
    const words = entries.flatMap(({ text }) => codeIn(text).flatMap((code) => code.match(/[A-Za-z_][A-Za-z0-9_-]*/g) ?? []))
    expect(words.length).toBeGreaterThan(40)
    expect([...new Set(words)].filter((word) => !sources.some((source) => source.includes(word)))).toEqual([])
  })

  test('agrees with the core words at the top of src/domain/vocabulary.ts', () => {
    const vocabulary = readFileSync(join(ROOT, 'src/domain/vocabulary.ts'), 'utf8')
    const comment = vocabulary.slice(0, vocabulary.indexOf('*/')).replaceAll(/\n \* {4,}/g, ' ')
    const core = [...comment.matchAll(/^ \* ([a-z]+(?: [a-z]+)?) {2,}(.+)$/gm)].map(([, term = '', text = '']) => ({
      term,
      text,
    }))
    expect(core.length).toBeGreaterThanOrEqual(15)
    const firstSentence = (term: string) => entries.find((entry) => entry.term === term)?.text.replace(/(?<=\.) .*/, '')
    for (const { term, text } of core) expect(text, term).toBe(firstSentence(term))
  })
})
