// Every number of REQUIREMENTS section 4 is named by a table at the head of a file of this folder, next to a test of that file.

import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'

const LAST_NUMBER = 142
const LAST_TRAP = 12

const files = readdirSync(import.meta.dirname).filter((name) => /^s4-.*\.test\.ts$/.test(name) && name !== 's4-coverage.test.ts')
const rows = files.flatMap((file) => {
  const text = readFileSync(join(import.meta.dirname, file), 'utf8')
  return [...text.matchAll(/^\/\/ (S4-T?\d+): (.+)$/gm)].map(([, number = '', name = '']) => ({ file, text, number, name }))
})

const required = [
  ...Array.from({ length: LAST_NUMBER }, (_, index) => `S4-${String(index + 1).padStart(2, '0')}`),
  ...Array.from({ length: LAST_TRAP }, (_, index) => `S4-T${index + 1}`),
]

test('every number of section 4 has a row', () => {
  const named = new Set(rows.map(({ number }) => number))
  expect(required.filter((number) => !named.has(number))).toEqual([])
  expect([...named].filter((number) => !required.includes(number))).toEqual([])
})

test('every row names a test of its own file', () => {
  const isTest = ({ text, name }: (typeof rows)[number]) =>
    [`'${name}'`, `"${name}"`].some((title) => new RegExp(`test(\\.each\\([\\s\\S]*?\\))?\\(\\s*${literally(title)}`).test(text))
  const missing = rows.filter((row) => !isTest(row))
  expect(missing.map(({ file, number, name }) => `${file} ${number}: ${name}`)).toEqual([])
})

test('every file of this folder has a table and stays below 400 lines', () => {
  for (const file of files) {
    expect(rows.filter((row) => row.file === file).length, file).toBeGreaterThan(0)
    expect(readFileSync(join(import.meta.dirname, file), 'utf8').split('\n').length, file).toBeLessThan(400)
  }
})

const literally = (text: string) => text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')
