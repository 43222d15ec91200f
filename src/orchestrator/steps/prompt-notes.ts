import { isBlank } from '../../domain/blank-text.ts'
import type { Message } from '../../domain/users/thread.ts'
import { stepPlans } from '../../prompts/step-plan.ts'
import type { StepTask } from './step-inputs.ts'

/**
 * Notes about inputs that the step lacks, such as a panel member that did not answer or a branch that was not taken.
 */
export function missingNotes({ run, step, options: { visible } }: StepTask): readonly string[] {
  const inputs = stepPlans(run.definition).get(step.id)?.inputs
  if (!inputs || inputs.size === 0) return []
  return visible.flatMap(({ stepId, status, error }) => {
    if (!inputs.has(stepId) || status === 'SUCCESS') return []
    const isRepeated = visible.some((other) => other.stepId === stepId && other.status === 'SUCCESS')
    const reason = error ? `it failed with ${error.code}` : status === 'SKIPPED' ? 'it was skipped' : `it is ${status}`
    return isRepeated ? [] : [`made without the output of step "${stepId}": ${reason}`]
  })
}

/** Notes about system messages that the context policy keeps from the models. */
export function systemNotes({ run }: StepTask, history: readonly Message[]): readonly string[] {
  const leftOut = run.definition.contextPolicy.preserveSystemPrompts ? 0 : systemMessages(history).length
  return leftOut === 0
    ? []
    : [`${leftOut} system messages of the conversation left out (contextPolicy.preserveSystemPrompts is false)`]
}

/** The system messages of a conversation, in their order. */
export const systemMessages = (history: readonly Message[]): readonly Message[] =>
  history.filter(({ role, content }) => role === 'system' && !isBlank(content))
