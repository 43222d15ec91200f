import { windowAt } from '../../domain/users/budget.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import type { BudgetReservation, BudgetUsage } from '../../repositories/repository.ts'
import { type AppliedBudget, fromNanoUsd } from './applied-budgets.ts'

export interface BudgetRefusal {
  readonly error: OrchestratorError
  /** Whether the amount would not fit without the reservations of other attempts either, so that waiting is useless. */
  readonly isFinal: boolean
}

interface Comparison {
  readonly limit: 'maxCostUsd' | 'maxTokens' | 'maxFlows'
  readonly max: number | undefined
  readonly spent: number
  readonly reserved: number
  readonly needed: number
}

type Amounts = Pick<BudgetReservation, 'costNanoUsd' | 'tokens' | 'flows'>

/** Why a reservation did not fit: the first budget whose maximum it exceeds, final refusals first. */
export function findRefusal(
  applied: readonly AppliedBudget[],
  needed: Amounts,
  usage: readonly BudgetUsage[],
  now: Date,
): BudgetRefusal {
  const exceeded = applied.flatMap((budget, index) =>
    comparisonsOf(budget, needed, usage[index]).flatMap((comparison) => {
      const { max, spent, reserved, needed: amount } = comparison
      if (max === undefined || amount === 0 || spent + reserved + amount <= max) return []
      return [{ budget, comparison, isFinal: spent + amount > max }]
    }),
  )
  const [first = exceeded[0]] = exceeded.filter(({ isFinal }) => isFinal)
  // The state may have changed between the statement and its answer; then the reservation is tried again.
  if (!first) return { error: new OrchestratorError('LIMIT_EXCEEDED', 'A budget is used up'), isFinal: false }
  return { error: toError(first.budget, first.comparison, now), isFinal: first.isFinal }
}

function comparisonsOf({ settings }: AppliedBudget, needed: Amounts, usage?: BudgetUsage): readonly Comparison[] {
  return [
    {
      limit: 'maxCostUsd',
      max: settings.maxCostUsd,
      spent: fromNanoUsd(usage?.costNanoUsd ?? 0),
      reserved: fromNanoUsd(usage?.reservedNanoUsd ?? 0),
      needed: fromNanoUsd(needed.costNanoUsd),
    },
    {
      limit: 'maxTokens',
      max: settings.maxTokens,
      spent: usage?.tokens ?? 0,
      reserved: usage?.reservedTokens ?? 0,
      needed: needed.tokens,
    },
    { limit: 'maxFlows', max: settings.maxFlows, spent: usage?.flows ?? 0, reserved: 0, needed: needed.flows },
  ]
}

function toError({ settings, subject }: AppliedBudget, comparison: Comparison, now: Date): OrchestratorError {
  const { name, scope, window } = settings
  const { limit, max, spent, reserved, needed } = comparison
  const { end } = windowAt(window, now)
  const opensAt = end.toISOString()
  const message = `Expected budget "${name}" (${limit} ${max} per ${window}) to cover another ${needed}; ${spent} is spent and ${reserved} reserved; it opens again at ${opensAt}`
  return new OrchestratorError('LIMIT_EXCEEDED', message, {
    details: {
      reason: 'budget',
      budget: name,
      scope,
      subject,
      window,
      limit,
      max,
      spent,
      reserved,
      needed,
      opensAt,
      retryAfterMs: end.getTime() - now.getTime(),
    },
  })
}
