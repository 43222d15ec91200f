import { describe, expect, test } from 'vitest'
import { markedFields } from '../../src/repositories/columns/column.ts'
import { FLOW_COLUMNS } from '../../src/repositories/columns/flow-columns.ts'
import { claimFlow, createStoredFlow, finishFlow } from '../../src/repositories/memory/flow-changes.ts'
import { toClaimJson, toFlowJson, toOutcomeJson } from '../../src/repositories/postgres/journal/flow-rows.ts'
import type { StoredFlow } from '../../src/repositories/repository.ts'
import { newClaim, newFlow, outcome } from '../support/stored-data.ts'

const runOptions = { streaming: true }
const failure = { code: 'STEP_FAILED', message: 'No answer', retryable: false, details: {} } as const
const claim = newClaim('f0000000-0000-4000-8000-000000000000', { metadata: { tag: 'claim' }, runOptions })
const created = createStoredFlow(newFlow('thread', { metadata: { tag: 'create' }, input: 'first' }))
const ended = finishFlow(claimFlow(created, claim), outcome({ status: 'FAILED', error: failure, simulated: true }))

/** Properties of which two states of a flow hold different values. */
const changed = (before: StoredFlow, after: StoredFlow): readonly string[] =>
  Object.entries(after)
    .filter(([property, value]) => Reflect.get(before, property) !== value)
    .map(([property]) => property)
    .sort()

const marked = (...marks: readonly ('claim' | 'clear' | 'finish')[]): readonly string[] =>
  [...new Set(marks.flatMap((mark) => markedFields(FLOW_COLUMNS, mark).map(({ property }) => String(property))))]
    .filter((property) => property !== 'resultOutput')
    .sort()

describe('the columns of flows in memory', () => {
  test('a claim changes the columns marked so, the status and the epoch, and clears what belongs to the execution before', () => {
    const again = claimFlow(ended, newClaim(ended.id, { startedAt: new Date(0), input: undefined }))
    const unchanged = markedFields(FLOW_COLUMNS, 'keep').map(({ property }) => String(property))
    const expected = [...marked('claim', 'clear'), 'ownerEpoch', 'status'].filter((property) => !unchanged.includes(property))
    expect(changed(ended, again)).toEqual(expected.sort())
    for (const { property } of markedFields(FLOW_COLUMNS, 'clear')) expect(Reflect.get(again, property)).toBeUndefined()
  })

  test('an outcome changes the columns marked so and no other', () => {
    const running = claimFlow(created, claim)
    expect(changed(running, ended)).toEqual(marked('finish'))
  })
})

describe('the rows that the journal sends', () => {
  const namesOf = (mark: 'create' | 'claim' | 'finish') => markedFields(FLOW_COLUMNS, mark).map(({ name }) => String(name))

  test('rows of the journal hold a value for every column that the write sets', () => {
    expect(Object.keys(toFlowJson(newFlow('thread'))).sort()).toEqual(namesOf('create').sort())
    expect(Object.keys(toClaimJson(claim)).sort()).toEqual(
      [...namesOf('claim'), 'allowed', 'epoch', 'flow_id', 'job_id', 'requires'].sort(),
    )
    const row = toOutcomeJson(ended.id, 1, outcome())
    expect(Object.keys(row).sort()).toEqual([...namesOf('finish'), 'epoch', 'flow_id'].sort())
  })
})
