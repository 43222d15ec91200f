import { describe, expect, test } from 'vitest'
import { budgetSubject, budgetsSchema, windowAt } from '../../src/domain/users/budget.ts'

describe('windows of budgets', () => {
  const at = new Date('2026-11-29T13:45:10.123Z')
  test.each([
    ['hour', '2026-11-29T13:00:00.000Z', '2026-11-29T14:00:00.000Z'],
    ['day', '2026-11-29T00:00:00.000Z', '2026-11-30T00:00:00.000Z'],
    ['week', '2026-11-23T00:00:00.000Z', '2026-11-30T00:00:00.000Z'],
    ['month', '2026-11-01T00:00:00.000Z', '2026-12-01T00:00:00.000Z'],
  ] as const)('a window of one %s begins and ends in UTC', (window, start, end) => {
    const found = windowAt(window, at)
    expect([found.start.toISOString(), found.end.toISOString()]).toEqual([start, end])
    expect(windowAt(window, found.start)).toEqual(found)
    expect(windowAt(window, found.end).start).toEqual(found.end)
    expect(windowAt(window, new Date(found.end.getTime() - 1))).toEqual(found)
  })
})

test('a tag is a text, number or boolean of the metadata, and anything else is no tag', () => {
  const of = (metadata: Record<string, unknown>) => budgetSubject('tag:team', { userId: 'ada', metadata })
  expect([of({ team: 'red' }), of({ team: 7 }), of({ team: false })]).toEqual(['red', '7', 'false'])
  expect([of({}), of({ team: null }), of({ team: { a: 1 } })]).toEqual([undefined, undefined, undefined])
})

test('budgets need names that differ, a known scope and at least one maximum', () => {
  const budget = { name: 'a', scope: 'user', window: 'day', maxTokens: 1 }
  const isValid = (...budgets: readonly object[]) => budgetsSchema.safeParse(budgets).success
  expect(isValid(budget, { ...budget, name: 'b', scope: 'tag:team' })).toBe(true)
  expect(isValid(budget, budget)).toBe(false)
  expect(isValid({ ...budget, scope: 'tag:' })).toBe(false)
  expect(isValid({ ...budget, scope: 'team' })).toBe(false)
  expect(isValid({ name: 'a', scope: 'user', window: 'day' })).toBe(false)
})
