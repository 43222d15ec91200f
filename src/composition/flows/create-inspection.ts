import type { FlowDefinitionInput } from '../../domain/definition/flow-definition.ts'
import type { DefinitionParser } from '../../domain/definition/parser.ts'
import type { BudgetFacts } from '../../domain/users/budget.ts'
import { executors } from '../../executors/registry.ts'
import type { BudgetService } from '../../orchestrator/budgets/budget-service.ts'
import { createAnswerSteps, createFinalSteps } from '../../orchestrator/inspect/answer-steps.ts'
import { createCheckFlow } from '../../orchestrator/inspect/check-flow.ts'
import { createPreflight } from '../../orchestrator/inspect/preflight.ts'
import type { DataSharingService } from '../../policies/policy.ts'
import type { Models } from '../create-models.ts'

export interface CreateInspectionDeps {
  readonly parser: DefinitionParser
  readonly models: Models
  readonly dataSharing: DataSharingService
  readonly budgets: BudgetService
}

/** Builds the checks that need no run: `checkFlow`, the preflight, and the steps that write the answer. */
export function createInspection({ parser, models, dataSharing, budgets }: CreateInspectionDeps) {
  const { pools, prices, modelNames, tokens, pricingOf, sharing, operationsOf } = models
  const budgetsOf = (facts: BudgetFacts) => budgets.of(facts)
  const deps = {
    parser,
    executors,
    pools,
    prices,
    dataSharing,
    decideSharing: sharing.decideSharing,
    tokens,
    pricingOf,
    operationsOf,
    budgetsOf,
    hindranceOf: models.backing.hindranceOf,
  }
  const finalStepsOf = createFinalSteps(executors)
  return {
    checkFlow: createCheckFlow({ ...deps, modelNames }),
    preflight: createPreflight(deps),
    answerSteps: createAnswerSteps(executors),
    finalSteps: (definition: FlowDefinitionInput) => finalStepsOf(parser.parse(definition)),
  }
}
