import { type BudgetFacts, type BudgetSettings, budgetSubject, windowAt } from '../../domain/users/budget.ts'
import type { BudgetCap } from '../../repositories/repository.ts'

/** A budget and the subject against whose amount a flow counts. */
export interface AppliedBudget {
  readonly settings: BudgetSettings
  readonly subject: string
}

/** The budgets that apply to a flow, in the order of the configuration. */
export const appliedBudgets = (budgets: readonly BudgetSettings[], facts: BudgetFacts): readonly AppliedBudget[] =>
  budgets.flatMap((settings) => {
    const subject = budgetSubject(settings.scope, facts)
    return subject === undefined ? [] : [{ settings, subject }]
  })

const NANO = 1e9
// Larger than the rounding error of a sum of prices, and far below a billionth.
const TOLERANCE_NANO_USD = 1e-3

/**
 * Billionths of a US dollar. Rounded up, so that a sum of settled amounts is never below what was spent; a price of 0
 * stays 0.
 */
export const toNanoUsdUp = (costUsd: number): number => Math.max(0, Math.ceil(costUsd * NANO - TOLERANCE_NANO_USD))

export const fromNanoUsd = (nanoUsd: number): number => nanoUsd / NANO

/** Keys and maxima of the window that contains the instant. */
export const capsAt = (applied: readonly AppliedBudget[], at: Date): readonly BudgetCap[] =>
  applied.map(({ settings: { name, window, maxCostUsd, maxTokens, maxFlows }, subject }) => ({
    name,
    subject,
    windowStart: windowAt(window, at).start,
    maxCostNanoUsd: maxCostUsd === undefined ? undefined : Math.round(maxCostUsd * NANO),
    maxTokens,
    maxFlows,
  }))

/** The same for attempts that count against the same amounts. */
export const keyOf = (applied: readonly AppliedBudget[]): string =>
  JSON.stringify(applied.map(({ settings, subject }) => [settings.name, subject]))
