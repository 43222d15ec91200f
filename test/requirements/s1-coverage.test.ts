// Every number of REQUIREMENTS section S1 is named by a table at the head of a file of this folder, next to a test of that file.

import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'

const LAST_NUMBER = 60
/** Numbers of the dashboard, which is an issue of its own. */
const FOLLOWING = ['S1-02', 'S1-07', 'S1-09', 'S1-59']

const files = readdirSync(import.meta.dirname).filter((name) => /^s1\..*\.test\.ts$/.test(name))
const rows = files.flatMap((file) => {
  const text = readFileSync(join(import.meta.dirname, file), 'utf8')
  return [...text.matchAll(/^\/\/ (S1-\d+): (.+)$/gm)].map(([, number = '', name = '']) => ({ text, number, name }))
})

test('every number of section S1 but those of the dashboard has a row, which names a test', () => {
  const required = Array.from({ length: LAST_NUMBER }, (_, index) => `S1-${String(index + 1).padStart(2, '0')}`)
  const named = rows.map(({ number }) => number)
  expect([...new Set([...named, ...FOLLOWING])].sort()).toEqual(required)
  expect(named.filter((number) => FOLLOWING.includes(number))).toEqual([])
  expect(rows.filter(({ text, name }) => !text.includes(`'${name}'`))).toEqual([])
})
