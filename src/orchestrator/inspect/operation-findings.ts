import type { PoolDirectory } from '../../domain/definition/call/pools.ts'
import type { FlowDefinition, FlowStep, Target } from '../../domain/definition/flow-definition.ts'
import { isRunStep } from '../../domain/tools/tool-fields.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import { type FindOperations, findMemberOperation } from '../operations/find-operation.ts'
import type { Findings, FlowFinding } from './flow-finding.ts'

export interface OperationFindingsDeps {
  /** Implemented by createModels. */
  readonly operationsOf: FindOperations
  readonly pools: PoolDirectory
}

/**
 * Operations that steps name and that do not exist, and arguments without templates that do not fit. A server that does
 * not answer now is a warning: it may answer when the step runs.
 */
export async function operationFindings(
  { operationsOf, pools }: OperationFindingsDeps,
  { steps }: FlowDefinition,
): Promise<Findings> {
  const problems: FlowFinding[] = []
  const warnings: FlowFinding[] = []
  const targets = [...steps.entries()].flatMap(([index, step]) =>
    isRunStep(step) ? pools.membersOf(step).map((member) => ({ index, step, member })) : [],
  )
  for (const { index, step, member } of targets) {
    try {
      const found = (await findMemberOperation(operationsOf, step, member)).check(step.arguments ?? {})
      if (found.length > 0 && isConstant(step)) problems.push(unfit(step, member, `steps[${index}].arguments`, found))
    } catch (error) {
      const { code, message, details, retryable } = OrchestratorError.from(error)
      // A provider that cannot be used at all is a finding of its own.
      if (code === 'PROVIDER_INACTIVE' || (code === 'PROVIDER_NOT_CONFIGURED' && details.operation === undefined)) continue
      const list = retryable ? warnings : problems
      list.push({ code, path: `steps[${index}].model`, message, details })
    }
  }
  return { problems, warnings }
}

const unfit = ({ id }: FlowStep, { provider, model }: Target, path: string, problems: readonly string[]): FlowFinding => ({
  code: 'INPUT_INVALID',
  path,
  message: `step "${id}" does not fit the input of ${provider}/${model}: ${problems.join('; ')}`,
  details: { stepId: id, provider, model, problems },
})

/** Whether the arguments are known before the run, because no text of them is a template. */
const isConstant = (step: FlowStep): boolean => isConstantValue(step.arguments)

function isConstantValue(value: unknown): boolean {
  if (typeof value === 'string') return !value.includes('{{') && !value.includes('{%')
  return typeof value !== 'object' || value === null || Object.values(value).every(isConstantValue)
}
