// Every number of REQUIREMENTS section 2 is named by a table at the head of a file of this folder, next to a test of it.

import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'

const LAST_NUMBER = 73

const files = readdirSync(import.meta.dirname).filter((name) => /^s2-.*\.integration\.test\.ts$/.test(name))
const rows = files.flatMap((file) => {
  const text = readFileSync(join(import.meta.dirname, file), 'utf8')
  return [...text.matchAll(/^\/\/ (S2-\d+): (.+)$/gm)].map(([, number = '', name = '']) => ({ file, text, number, name }))
})
const required = Array.from({ length: LAST_NUMBER }, (_, index) => `S2-${String(index + 1).padStart(2, '0')}`)

test('every number of section 2 has a row', () => {
  const named = new Set(rows.map(({ number }) => number))
  expect(required.filter((number) => !named.has(number))).toEqual([])
  expect([...named].filter((number) => !required.includes(number))).toEqual([])
})

test('every row of section 2 names a test of its own file', () => {
  const missing = rows.filter(({ text, name }) => !text.includes(`('${name}',`))
  expect(missing.map(({ file, number, name }) => `${file} ${number}: ${name}`)).toEqual([])
})
