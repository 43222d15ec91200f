import { describe, expect, test } from 'vitest'
import { costOf, isUnpriced, sumCost, totalsOf } from '../../src/domain/execution/cost.ts'
import { attempt, failedAttempt, stepResult } from '../support/stored-data.ts'

const paid = (cost: number) => attempt(1, { cost })
const unpriced = attempt(1, { cost: undefined, costSource: undefined })
const simulated = attempt(1, { cost: undefined, costSource: undefined, simulated: true })

describe('the cost of attempts', () => {
  test('an attempt is unpriced where a provider may bill it and no price is known, even a price of 0 is known', () => {
    expect([unpriced, paid(0), failedAttempt(1), simulated].map(isUnpriced)).toEqual([true, false, false, false])
  })

  test('a sum of costs is rounded to whole nano-dollars and unknown where no cost is known', () => {
    expect(sumCost([paid(0.1), paid(0.2), failedAttempt(1)])).toBe(0.3)
    expect(sumCost([unpriced, simulated])).toBeUndefined()
    expect(sumCost([paid(1), attempt(1, { cost: 99, simulated: true })])).toBe(1)
  })

  test('a step has no cost when one of its attempts is unpriced, else the sum with the source of the last one', () => {
    expect(costOf([paid(1), unpriced])).toEqual({})
    expect(costOf([failedAttempt(1), simulated])).toEqual({})
    const stated = attempt(2, { cost: 2, costSource: 'provider' })
    expect(costOf([paid(1), stated, failedAttempt(3)])).toEqual({ cost: 3, costSource: 'provider' })
  })

  test('totals leave out unknown costs and count the steps that have one', () => {
    const results = [
      stepResult('flow', 'a', { attempts: [paid(0.1), unpriced] }),
      stepResult('flow', 'b', { attempts: [paid(0.2)] }),
      stepResult('flow', 'c', { attempts: [] }),
    ]
    expect(totalsOf(results)).toMatchObject({ totalCost: 0.3, totalTokens: 675, unpricedSteps: 1 })
    expect(totalsOf([])).toEqual({ totalCost: 0, totalTokens: 0, usage: { source: 'unknown' }, unpricedSteps: 0 })
  })
})
