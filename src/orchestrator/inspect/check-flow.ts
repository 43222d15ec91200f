import type { DefinitionProblem, FlowDefinition, FlowDefinitionInput } from '../../domain/definition/flow-definition.ts'
import type { DefinitionParser } from '../../domain/definition/parser.ts'
import { definitionError } from '../../domain/definition/problems.ts'
import type { BudgetFacts, BudgetReport } from '../../domain/users/budget.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import type { ModelNames } from '../../providers/provider.ts'
import { findHiddenOperations } from '../operations/hidden-operations.ts'
import { budgetFindings } from './budget-findings.ts'
import { type CostRange, type CostRangeDeps, callRanges, costRange, limitFindings } from './cost-range.ts'
import type { Findings, FlowFinding } from './flow-finding.ts'
import { joinFindings } from './join-findings.ts'
import { modelFindings } from './model-findings.ts'
import { type OperationFindingsDeps, operationFindings } from './operation-findings.ts'
import { providerFindings } from './provider-findings.ts'
import { type ServiceFindingsDeps, serviceFindings } from './service-findings.ts'
import { type PoolSharingDeps, poolSharing } from './sharing/pool-sharing.ts'
import { type ToolFindingsDeps, toolFindings } from './tool-findings.ts'

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

export interface CheckFlowDeps
  extends CostRangeDeps,
    PoolSharingDeps,
    ToolFindingsDeps,
    ServiceFindingsDeps,
    OperationFindingsDeps {
  readonly parser: Pick<DefinitionParser, 'parse' | 'parseFromNetwork'>
  readonly modelNames: ModelNames
  /** Implemented by BudgetService. */
  readonly budgetsOf: (facts: BudgetFacts) => Promise<readonly BudgetReport[]>
}

/** Facts of the flow that would run, for budgets whose scope is not the user. */
export interface CheckFlowOptions extends Omit<BudgetFacts, 'userId'> {
  /** Whether the definition came over a network, so that it may name only operations that are exposed to it. */
  readonly overNetwork?: boolean
}

export type CheckFlow = (definition: FlowDefinitionInput, userId: string, options?: CheckFlowOptions) => Promise<FlowCheck>

/**
 * Checks a definition for one user without calling a model. Never rejects for a bad definition: its problems are
 * findings.
 */
export function createCheckFlow(deps: CheckFlowDeps): CheckFlow {
  return async (input, userId, { overNetwork = false, ...options } = {}) => {
    const parsed = await parseOrFindHidden(deps, input, overNetwork)
    if ('problems' in parsed) {
      const cost = { lowUsd: 0, highUsd: 0, unpriced: [] }
      return { ok: false, problems: parsed.problems, warnings: [], calls: { min: 0, max: 0 }, cost, budgets: [] }
    }
    const { definition } = parsed
    const ranges = callRanges(deps.executors, definition)
    const joins = joinFindings(definition)
    const providers = providerFindings(deps.pools, definition)
    const services = serviceFindings(deps, definition)
    const operations = await operationFindings(deps, definition)
    const sharing = await poolSharing(deps, definition, userId)
    const cost = await costRange(deps, definition, ranges)
    const limits = limitFindings(definition, cost)
    const budgets = await deps.budgetsOf({ ...options, userId })
    const spending = budgetFindings(budgets, cost)
    const models = await modelFindings(deps, definition)
    const tools = await toolFindings(deps, definition, userId)
    const needs = sharing.needs.map(({ finding }) => finding)
    const problems = [
      ...joins.problems,
      ...providers.problems,
      ...services.problems,
      ...tools.problems,
      ...operations.problems,
      ...needs,
      ...limits.problems,
      ...spending.problems,
    ]
    const warnings = [
      ...joins.warnings,
      ...providers.warnings,
      ...services.warnings,
      ...operations.warnings,
      ...models,
      ...tools.warnings,
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

/** As `parseOrFindProblems`; operations that a definition from the network may not name are problems of it. */
export async function parseOrFindHidden(
  { parser, ...deps }: Pick<CheckFlowDeps, 'parser' | 'operationsOf' | 'pools'>,
  input: FlowDefinitionInput,
  overNetwork: boolean,
) {
  const parsed = parseOrFindProblems(overNetwork ? parser.parseFromNetwork : parser.parse, input)
  if ('problems' in parsed || !overNetwork) return parsed
  const hidden = await findHiddenOperations(deps, parsed.definition)
  return hidden.length === 0 ? parsed : { problems: definitionProblems(definitionError(hidden)) }
}

/** Parses a definition, or returns its problems as findings. */
function parseOrFindProblems(
  parse: CheckFlowDeps['parser']['parse'],
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
