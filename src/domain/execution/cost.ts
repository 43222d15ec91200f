import type { Attempt, StepResult } from './step-result.ts'
import { addUsage, type Usage } from './usage.ts'

/**
 * How costs are summed up, and which attempts have no known cost. Every sum of the ledger is one of these functions;
 * the one exception is the SQL of `repositories/postgres/tables/usage-repository.ts`, which a test compares with them.
 */

/** Facts of an attempt that decide what it costs. */
export type LedgerFacts = Pick<Attempt, 'cost' | 'usage' | 'simulated'>

/**
 * Whether the provider may bill the attempt: it answered, or had begun to. Attempts without usage were refused before
 * that.
 */
export const isBilled = ({ usage, simulated }: LedgerFacts): boolean => usage !== undefined && !simulated

/** Whether the provider may bill the attempt while its price or its tokens are unknown. */
export const isUnpriced = (attempt: LedgerFacts): boolean => attempt.cost === undefined && isBilled(attempt)

/** US dollars; `undefined` if the cost is unknown, and for answers of the simulator. */
export const knownCost = ({ cost, simulated }: LedgerFacts): number | undefined => (simulated ? undefined : cost)

/** Sum of the known costs, in US dollars to nine places; `undefined` if no attempt has one. */
export function sumCost(attempts: readonly LedgerFacts[]): number | undefined {
  let sum: number | undefined
  for (const attempt of attempts) {
    const cost = knownCost(attempt)
    if (cost !== undefined) sum = (sum ?? 0) + cost
  }
  return sum === undefined ? undefined : toNanoUsd(sum)
}

/** Rounds US dollars to nine places: sums of binary fractions would show as 0.30000000000000004. */
export const toNanoUsd = (costUsd: number): number => Math.round(costUsd * 1e9) / 1e9

/** Sums over the attempts of several results. Unknown figures are left out and counted, never taken as 0. */
export interface Totals {
  /** US dollars. */
  readonly totalCost: number
  readonly totalTokens: number
  readonly usage: Usage
  readonly unpricedSteps: number
}

export function totalsOf(results: readonly StepResult[]): Totals {
  const attempts = results.flatMap((result) => result.attempts)
  const usage = addUsage(attempts.map((attempt) => attempt.usage).filter((known) => known !== undefined))
  return {
    totalCost: sumCost(attempts) ?? 0,
    totalTokens: usage.totalTokens ?? 0,
    usage,
    unpricedSteps: countUnpricedSteps(results),
  }
}

/** Number of results with at least one unpriced attempt. */
export const countUnpricedSteps = (results: readonly { readonly attempts: readonly LedgerFacts[] }[]): number =>
  results.filter(({ attempts }) => attempts.some(isUnpriced)).length

/**
 * Cost of one step over its attempts; without a cost if any of them is unpriced. The source is that of the last known
 * cost.
 */
export function costOf(attempts: readonly Attempt[]): { readonly cost?: number; readonly costSource?: Attempt['costSource'] } {
  const cost = attempts.some(isUnpriced) ? undefined : sumCost(attempts)
  if (cost === undefined) return {}
  const costSource = attempts.findLast((attempt) => knownCost(attempt) !== undefined)?.costSource
  return costSource === undefined ? {} : { cost, costSource }
}
