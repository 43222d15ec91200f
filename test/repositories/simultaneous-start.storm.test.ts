import { expect, test } from 'vitest'
import { openAtOnce } from '../support/simultaneous-start.ts'

test('ten processes that start at once on an empty database all come up, twenty times', { timeout: 300_000 }, async () => {
  const reports = await openAtOnce(10, 20)
  expect(reports).toEqual(Array.from({ length: 20 }, () => Array.from({ length: 10 }, () => 'open')))
})
