import type { FlowUpdate } from '../../domain/execution/flow-update.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import type { AnswerStep } from '../../executors/executor.ts'

/** Selects the answer of a flow from the text chunks of all its steps. */
export interface AnswerText {
  /** The chunk of the answer in this update; undefined for every other update. */
  chunkOf(update: FlowUpdate): string | undefined
  /**
   * The part of the whole answer that was not streamed. Throws PROVIDER_BAD_REPLY when the streamed text is not its
   * beginning.
   */
  restOf(answer: string): string
}

export function createAnswerText(answerSteps: readonly AnswerStep[]): AnswerText {
  const streamed = new Set(answerSteps.map(({ stepId, iteration }) => `${stepId}#${iteration}`))
  let sent = ''
  let isVoid = false
  return {
    chunkOf(update) {
      if (!streamed.has(`${update.path}#${update.iteration}`)) return undefined
      // Another process resumed the flow and runs the step again: the text that was sent cannot be taken back.
      if (update.type === 'step_start' && sent !== '') isVoid = true
      if (isVoid || update.type !== 'step_progress' || update.data.sample !== undefined || update.data.kind !== undefined) {
        return undefined
      }
      sent += update.data.delta
      return update.data.delta
    },
    restOf(answer) {
      if (answer.startsWith(sent)) return answer.slice(sent.length)
      throw new OrchestratorError('PROVIDER_BAD_REPLY', 'The streamed text is not the beginning of the whole answer')
    },
  }
}
