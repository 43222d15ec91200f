import { systemClock } from '../async/clock.ts'
import type { PolyphonyConfig } from '../config/config.ts'
import { BudgetService } from '../orchestrator/budgets/budget-service.ts'
import { createFlowBudgets, type FlowBudgetsDeps } from '../orchestrator/budgets/flow-budgets.ts'
import type { Store } from '../repositories/repository.ts'

export interface CreateAllBudgetsDeps extends Pick<FlowBudgetsDeps, 'ownerId' | 'logger'> {
  readonly config: Pick<PolyphonyConfig, 'budgets'>
  readonly store: Store
  readonly now: () => Date
}

/** Builds what reports budgets, and what keeps running flows within them. */
export function createAllBudgets({ config: { budgets }, store, ownerId, logger, now }: CreateAllBudgetsDeps) {
  const repository = store.budgets
  return {
    budgets: new BudgetService({ repository, budgets, now }),
    flowBudgets: createFlowBudgets({
      repository,
      budgets,
      ownerId,
      shared: store.kind === 'postgres',
      clock: systemClock,
      logger,
    }),
  }
}
