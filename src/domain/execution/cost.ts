import type { Attempt, StepResult } from './step-result.ts'
import { addUsage, type Usage } from './usage.ts'

/** Sums over ledger rows. Unknown figures are left out and counted, never taken as 0. */
export interface Totals {
  readonly totalCost: number
  readonly totalTokens: number
  readonly usage: Usage
  readonly unpricedSteps: number
}

/** Simulated attempts are never counted as cost. */
const isUnpriced = (attempt: Attempt): boolean => attempt.cost === undefined && attempt.usage !== undefined && !attempt.simulated

export function totalsOf(results: readonly StepResult[]): Totals {
  let totalCost = 0
  let unpricedSteps = 0
  const usages: Usage[] = []
  for (const result of results) {
    if (result.attempts.some(isUnpriced)) unpricedSteps++
    for (const attempt of result.attempts) {
      totalCost += attempt.cost ?? 0
      if (attempt.usage) usages.push(attempt.usage)
    }
  }
  const usage = addUsage(usages)
  return { totalCost: toNanoUsd(totalCost), totalTokens: usage.totalTokens ?? 0, usage, unpricedSteps }
}

/** What one step cost over its attempts; absent when any billed one has no known price. */
export function costOf(attempts: readonly Attempt[]): { readonly cost?: number; readonly costSource?: Attempt['costSource'] } {
  let cost = 0
  let costSource: Attempt['costSource']
  for (const attempt of attempts) {
    if (isUnpriced(attempt)) return {}
    if (attempt.cost === undefined) continue
    cost += attempt.cost
    costSource = attempt.costSource
  }
  return costSource === undefined ? {} : { cost: toNanoUsd(cost), costSource }
}

// Sums of binary fractions would show as 0.30000000000000004.
export const toNanoUsd = (costUsd: number): number => Math.round(costUsd * 1e9) / 1e9
