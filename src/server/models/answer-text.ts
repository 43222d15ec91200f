import type { FlowUpdate } from '../../domain/execution/flow-update.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import type { AnswerStep } from '../../executors/executor.ts'

/** Picks the answer out of the texts of all steps. */
export interface AnswerText {
  /** The piece of the answer that an update holds; `undefined` where it holds none. */
  pieceOf(update: FlowUpdate): string | undefined
  /** What of the whole answer was not picked. Throws PROVIDER_BAD_REPLY where what was picked is not its beginning. */
  restOf(answer: string): string
}

export function createAnswerText(answerSteps: readonly AnswerStep[]): AnswerText {
  const speaking = new Set(answerSteps.map(({ stepId, iteration }) => `${stepId}#${iteration}`))
  let picked = ''
  let isVoid = false
  return {
    pieceOf(update) {
      if (!speaking.has(`${update.stepId}#${update.iteration}`)) return undefined
      // Another process took the flow over: the step begins anew, and what was said of it cannot be taken back.
      if (update.type === 'step_start' && picked !== '') isVoid = true
      if (isVoid || update.type !== 'step_progress' || update.data.sample !== undefined || update.data.kind !== undefined) {
        return undefined
      }
      picked += update.data.delta
      return update.data.delta
    },
    restOf(answer) {
      if (answer.startsWith(picked)) return answer.slice(picked.length)
      throw new OrchestratorError('PROVIDER_BAD_REPLY', 'What was streamed is not how the whole answer begins')
    },
  }
}
