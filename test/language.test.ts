import { readdirSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { expect, test } from 'vitest'
import { findLanguageProblems } from './support/language.ts'

const root = resolve(import.meta.dirname, '..')

const sources = ['src', 'templates'].flatMap((folder) =>
  readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ts'))
    .map((file) => `${folder}/${file}`),
)

test('names and comments use plain words, comments end before column 121, and no requirement number is in src', () => {
  const found = sources.flatMap((file) =>
    findLanguageProblems(file, readFileSync(join(root, file), 'utf8')).map(({ line, problem }) => `${file}:${line} ${problem}`),
  )
  expect(found).toEqual([])
})

test('the reader of comments finds metaphors, implied subjects, long lines and requirement numbers', () => {
  const text = [
    '// Whoever asks is told.',
    '/** One piece of the house (S4-12). */',
    'export const outletOf = `// no comment: house`',
    `// ${'long '.repeat(24)}`,
    'const place = 1 // the door',
    'interface Source { place: string }',
  ].join('\n')
  const found = findLanguageProblems('example.ts', text)
  expect(found.map(({ line }) => line)).toEqual([1, 1, 2, 2, 2, 3, 4, 5, 5])
})

test('plain comments and names pass', () => {
  const text = "/** Reads one page of flows, newest first. Rejects with FLOW_NOT_FOUND. */\nexport const readPage = () => 'house'"
  expect(findLanguageProblems('example.ts', text)).toEqual([])
})

/** Names that the server and the client, which are separate programs, both give to the two sides of one wire format. */
const isWireSide = (file: string): boolean => file === 'src/client/wire.ts'

test('no exported name exists twice', () => {
  const files = new Map<string, string[]>()
  for (const file of sources) {
    if (isWireSide(file)) continue
    const text = readFileSync(join(root, file), 'utf8')
    const pattern = /^export (?:async )?(?:abstract )?(?:function\*?|class|interface|type|const|let) ([A-Za-z_$][\w$]*)/gm
    const names = new Set([...text.matchAll(pattern)].map((match) => match[1] ?? ''))
    for (const name of names) files.set(name, [...(files.get(name) ?? []), file])
  }
  expect([...files].filter(([, where]) => where.length > 1)).toEqual([])
})
