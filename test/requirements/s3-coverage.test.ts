// Every number of the workflow service in REQUIREMENTS is named by a table at the head of a file of this folder.

import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'

const LAST_NUMBER = 54
const files = readdirSync(import.meta.dirname).filter((name) => /^s3-.*\.integration\.test\.ts$/.test(name))
const rows = files.flatMap((file) => {
  const text = readFileSync(join(import.meta.dirname, file), 'utf8')
  return [...text.matchAll(/^\/\/ (S3-\d+): (.+)$/gm)].map(([, number = '', name = '']) => ({ file, text, number, name }))
})

test('every number of the workflow service has a row', () => {
  const required = Array.from({ length: LAST_NUMBER }, (_, index) => `S3-${String(index + 1).padStart(2, '0')}`)
  expect([...new Set(rows.map(({ number }) => number))].sort()).toEqual(required)
})

test('every row of the workflow service names a test of its own file', () => {
  const missing = rows.filter(({ text, name }) => !text.includes(`test('${name}'`))
  expect(missing.map(({ file, number, name }) => `${file} ${number}: ${name}`)).toEqual([])
})
