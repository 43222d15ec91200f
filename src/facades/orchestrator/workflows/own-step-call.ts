import type { FunctionContext } from '../../../domain/tools/functions.ts'
import { stepValue } from './execution-record.ts'
import { flowPartsOf } from './flow-parts.ts'
import type { OwnStepCall } from './step-executors.ts'
import { readWorkflow, type WorkflowStep } from './workflow.ts'
import { phaseOf } from './workflow-definition.ts'
import type { LiveWorkflow } from './workflow-runner.ts'

/**
 * The step for which the function of own steps is called. A workflow that another process started, and that is resumed
 * here, is read from the metadata of its flow.
 */
export function ownStepCall(context: FunctionContext, given: unknown, live: LiveWorkflow | undefined): OwnStepCall | undefined {
  const workflow = live?.workflow ?? readWorkflow(context.metadata.workflow)
  if (!workflow) return undefined
  const steps = new Map(flowPartsOf(workflow).map(({ flowId, step }) => [flowId, step]))
  const step = steps.get(context.stepId)
  const known = live?.record.toExecution().results ?? {}
  const results = Object.entries(textsOf(given)).flatMap(([flowId, text]) => {
    const before = steps.get(flowId)
    if (!before) return []
    const value = Object.hasOwn(known, before.id) ? known[before.id] : undefined
    return [[before.id, value ?? readValue(before, text)] as const]
  })
  return (
    step && {
      step,
      context: {
        executionId: context.flowId,
        workflowId: workflow.id,
        input: live ? live.input : context.metadata.input,
        results: Object.fromEntries(results),
      },
    }
  )
}

function textsOf(given: unknown): Readonly<Record<string, unknown>> {
  if (typeof given !== 'object' || given === null || !('results' in given)) return {}
  const { results } = given
  return typeof results === 'object' && results !== null ? { ...results } : {}
}

/** The value of a recorded text: of a phase in its type, of an executor of the user the JSON that it returned. */
function readValue(step: WorkflowStep, text: unknown): unknown {
  const output = typeof text === 'string' ? text : JSON.stringify(text)
  if (phaseOf(step.type)) return stepValue({ output }, step)
  try {
    return JSON.parse(output)
  } catch {
    return output
  }
}
