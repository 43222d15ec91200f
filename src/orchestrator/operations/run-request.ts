import type { Target } from '../../domain/definition/flow-definition.ts'
import type { PromptScope } from '../../domain/definition/prompt-scope.ts'
import { operationKeyOf } from '../../domain/execution/call-intent.ts'
import { hasCallerMetadata } from '../../domain/execution/request-instructions.ts'
import { joinOrigins, toOrigin } from '../../domain/users/origins.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import { stepReferences } from '../../prompts/step-references.ts'
import { compileTemplate } from '../../prompts/template.ts'
import { requestOrigins } from '../provenance/request-origins.ts'
import { missingNotes } from '../steps/prompt-notes.ts'
import { toScope } from '../steps/rendered-prompt.ts'
import { type StepInputsDeps, type StepTask, selectResults, shareWithTarget } from '../steps/step-inputs.ts'
import type { StepPrompt } from '../steps/step-prompt.ts'
import { type FindOperations, findMemberOperation } from './find-operation.ts'

export interface RunRequestDeps extends StepInputsDeps {
  /** Implemented by createModels. */
  readonly operationsOf: FindOperations
}

/**
 * Builds the request of a step with action `run`: it decides about the outputs that the arguments read, renders them,
 * and checks them against the schema of the operation. Rejects with DATA_SHARING_DENIED, STEP_FAILED, INPUT_INVALID, or
 * as `findMemberOperation` does.
 */
export async function prepareOperation(deps: RunRequestDeps, task: StepTask, target: Target): Promise<StepPrompt> {
  const { run, path, iteration, step } = task
  const operation = await findMemberOperation(deps.operationsOf, step, target)
  const { inputs, wanted } = selectResults(task)
  const shared = await shareWithTarget(deps, task, target, wanted)
  const shownInputs = inputs.flatMap((result) => {
    const text = shared.outputs.get(result)
    return text === undefined ? [] : [{ label: result.stepId, text }]
  })
  const given = renderArguments(step.arguments ?? {}, toScope(task, shared.outputs, shownInputs, shared.history))
  const problems = operation.check(given)
  if (problems.length > 0) throw unfitArguments(task, target, problems)
  const parts = { shared, inputs, addsInputs: false, sendsOriginal: stepReferences(step).original }
  const read = requestOrigins(task, parts)
  let readsMetadata = false
  return {
    provider: target.provider,
    model: target.model,
    messages: [],
    settings: {},
    arguments: given,
    countInputTokens: async () => 0,
    origin: {
      userId: run.userId,
      flowId: run.flowId,
      stepId: path,
      idempotencyKey: operationKeyOf(run.flowId, { path, iteration }),
      // A function that does not read the metadata has a result that is not made from it.
      get metadata() {
        readsMetadata = hasCallerMetadata(run.options.metadata)
        return run.options.metadata
      },
    },
    get origins() {
      return readsMetadata ? joinOrigins([read, [toOrigin('metadata')]]) : read
    },
    operation,
    sharing: shared.decisions,
    promptNotes: [...shared.notes, ...missingNotes(task)],
  }
}

function renderArguments(given: Readonly<Record<string, unknown>>, scope: PromptScope): Readonly<Record<string, unknown>> {
  // Object.fromEntries defines own properties, even for a key named __proto__.
  return Object.fromEntries(Object.entries(given).map(([key, value]) => [key, renderValue(value, scope)]))
}

function renderValue(value: unknown, scope: PromptScope): unknown {
  if (typeof value === 'string') return compileTemplate(value).renderValue(scope)
  if (Array.isArray(value)) return value.map((member) => renderValue(member, scope))
  return typeof value === 'object' && value !== null ? renderArguments({ ...value }, scope) : value
}

function unfitArguments(
  { step, iteration }: StepTask,
  { provider, model }: Target,
  problems: readonly string[],
): OrchestratorError {
  const message = `Step "${step.id}" does not fit the input of ${provider}/${model}: ${problems.join('; ')}`
  return new OrchestratorError('INPUT_INVALID', message, { details: { stepId: step.id, iteration, provider, model, problems } })
}
