// Every number of REQUIREMENTS section S0 is named by the table of s0.integration.test.ts, next to a test of that file.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'

const LAST_NUMBER = 29
const text = readFileSync(join(import.meta.dirname, 's0.integration.test.ts'), 'utf8')
const rows = [...text.matchAll(/^\/\/ (S0-\d+): (.+)$/gm)].map(([, number = '', name = '']) => ({ number, name }))

test('every number of section S0 has one row, which names a test', () => {
  const required = Array.from({ length: LAST_NUMBER }, (_, index) => `S0-${String(index + 1).padStart(2, '0')}`)
  expect(rows.map(({ number }) => number)).toEqual(required)
  expect(rows.filter(({ name }) => !text.includes(`test('${name}'`))).toEqual([])
})
