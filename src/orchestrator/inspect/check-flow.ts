import type { DefinitionProblem, FlowDefinition, FlowDefinitionInput } from '../../domain/definition/flow-definition.ts'
import type { BudgetFacts, BudgetReport } from '../../domain/users/budget.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import type { ModelNames } from '../../providers/provider.ts'
import { budgetFindings } from './budget-findings.ts'
import { type CostRange, type CostRangeDeps, callRanges, costRange, limitFindings } from './cost-range.ts'
import type { Findings, FlowFinding } from './flow-finding.ts'
import { joinFindings } from './join-findings.ts'
import { modelFindings } from './model-findings.ts'
import { type ProviderUsability, providerFindings } from './provider-findings.ts'
import { type SharingFindingsDeps, sharingFindings } from './sharing-findings.ts'

/** Answer of checkFlow: everything that can be known before the first call. */
export interface FlowCheck {
  /** True when nothing that can be known before the run would stop it. */
  readonly ok: boolean
  readonly problems: readonly FlowFinding[]
  readonly warnings: readonly FlowFinding[]
  /** Minimum and maximum number of model calls, including loops and samples. */
  readonly calls: { readonly min: number; readonly max: number }
  readonly cost: CostRange
  /** The budgets that apply, with what is left of them now. */
  readonly budgets: readonly BudgetReport[]
}

export interface CheckFlowDeps extends CostRangeDeps, SharingFindingsDeps {
  readonly parser: { parse(input: unknown): FlowDefinition }
  readonly providers: ProviderUsability
  readonly modelNames: ModelNames
  /** Implemented by BudgetService. */
  readonly budgetsOf: (facts: BudgetFacts) => Promise<readonly BudgetReport[]>
}

/** Facts of the flow that would run, for budgets whose scope is not the user. */
export type CheckFlowOptions = Omit<BudgetFacts, 'userId'>

export type CheckFlow = (definition: FlowDefinitionInput, userId: string, options?: CheckFlowOptions) => Promise<FlowCheck>

/**
 * Checks a definition for one user without calling a model. Never rejects for a bad definition: its problems are
 * findings.
 */
export function createCheckFlow(deps: CheckFlowDeps): CheckFlow {
  return async (input, userId, options = {}) => {
    const parsed = parseOrFindProblems(deps.parser, input)
    if ('problems' in parsed) {
      const cost = { lowUsd: 0, highUsd: 0, unpriced: [] }
      return { ok: false, problems: parsed.problems, warnings: [], calls: { min: 0, max: 0 }, cost, budgets: [] }
    }
    const { definition } = parsed
    const ranges = callRanges(deps.executors, definition)
    const joins = joinFindings(definition)
    const providers = providerFindings(deps.providers, definition)
    const sharing = await sharingFindings(deps, definition, userId)
    const cost = await costRange(deps, definition, ranges)
    const limits = limitFindings(definition, cost)
    const budgets = await deps.budgetsOf({ ...options, userId })
    const spending = budgetFindings(budgets, cost)
    const models = await modelFindings(deps, definition)
    const needs = sharing.needs.map(({ finding }) => finding)
    const problems = [...joins.problems, ...providers.problems, ...needs, ...limits.problems, ...spending.problems]
    const warnings = [
      ...joins.warnings,
      ...providers.warnings,
      ...models,
      ...sharing.warnings,
      ...limits.warnings,
      ...spending.warnings,
    ]
    const calls = [...ranges.values()].reduce((sum, { min, max }) => ({ min: sum.min + min, max: sum.max + max }), {
      min: 0,
      max: 0,
    })
    return { ok: problems.length === 0, problems, warnings, calls, cost, budgets }
  }
}

/** Parses a definition, or returns its problems as findings. */
export function parseOrFindProblems(
  { parse }: CheckFlowDeps['parser'],
  input: FlowDefinitionInput,
): { readonly definition: FlowDefinition } | Pick<Findings, 'problems'> {
  try {
    return { definition: parse(input) }
  } catch (error) {
    return { problems: definitionProblems(error) }
  }
}

function definitionProblems(error: unknown): readonly FlowFinding[] {
  if (!OrchestratorError.is(error) || error.code !== 'FLOW_INVALID') throw error
  const found = error.details.problems
  const problems: readonly DefinitionProblem[] | undefined = Array.isArray(found) ? found : undefined
  if (!problems) return [{ code: 'FLOW_INVALID', path: '', message: error.message, details: {} }]
  return problems.map(({ path, message, suggestion }) => ({
    code: 'FLOW_INVALID',
    path,
    message,
    details: suggestion ? { suggestion } : {},
  }))
}
