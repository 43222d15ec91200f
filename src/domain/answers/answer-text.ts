import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import type { FlowUpdateData, FlowUpdateType } from '../execution/flow-update.ts'

/** One run of one step whose output is the flow's. */
export interface AnswerStep {
  readonly stepId: string
  readonly iteration: number
}

/** What is read of an update; in the process and as JSON it is the same. */
type ReadUpdate = { readonly path?: string | undefined; readonly iteration?: number | undefined } & (
  | { readonly type: 'step_progress'; readonly data: FlowUpdateData['step_progress'] }
  | { readonly type: 'step_retry'; readonly data: Pick<FlowUpdateData['step_retry'], 'restart'> }
  | { readonly type: Exclude<FlowUpdateType, 'step_progress' | 'step_retry'>; readonly data: unknown }
)

/** Selects the answer of a flow from the text chunks of all its steps. */
export interface AnswerText {
  /** The chunk of the answer in this update; undefined for every other update, and for all after one that voids. */
  chunkOf(update: ReadUpdate): string | undefined
  /**
   * Whether the chunks so far are void from this update on, because their step runs again. What was sent cannot be
   * taken back in every format: a new selection may send the text of the new run.
   */
  isVoidedBy(update: ReadUpdate): boolean
  /** Whether the streamed text is the beginning of the whole answer. */
  isBeginningOf(answer: string): boolean
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
  const isOfAnswer = ({ path, iteration }: ReadUpdate) => streamed.has(`${path}#${iteration}`)
  // Another process resumed the flow and runs the step again, or text turned out to be reasoning.
  const isVoidedBy = (update: ReadUpdate) =>
    sent !== '' && isOfAnswer(update) && (update.type === 'step_start' || (update.type === 'step_retry' && update.data.restart))
  const isBeginningOf = (answer: string) => answer.startsWith(sent)
  return {
    isVoidedBy,
    isBeginningOf,
    chunkOf(update) {
      if (!isOfAnswer(update)) return undefined
      isVoid ||= isVoidedBy(update)
      if (isVoid || update.type !== 'step_progress' || update.data.sample !== undefined || update.data.kind !== undefined) {
        return undefined
      }
      sent += update.data.delta
      return update.data.delta
    },
    restOf(answer) {
      if (isBeginningOf(answer)) return answer.slice(sent.length)
      throw new OrchestratorError('PROVIDER_BAD_REPLY', 'The streamed text is not the beginning of the whole answer')
    },
  }
}
