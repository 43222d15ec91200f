import { expect, test } from 'vitest'
import { openAtOnce } from '../support/simultaneous-start.ts'

test('four processes that start at once on an empty database all come up, three times', async () => {
  const reports = await openAtOnce(4, 3)
  expect(reports).toEqual(Array.from({ length: 3 }, () => Array.from({ length: 4 }, () => 'open')))
})
