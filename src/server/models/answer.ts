import type { ConversationService } from '../../conversations/conversation-service.ts'
import { toAnswerMessage, toAnswerWriters } from '../../domain/answers/flow-answer.ts'
import { countUnpricedSteps, sumCost } from '../../domain/execution/cost.ts'
import type { FlowExecutionResult } from '../../domain/execution/flow-result.ts'
import type { FinishReason } from '../../domain/execution/model-call.ts'
import type { Attempt, StepResult } from '../../domain/execution/step-result.ts'
import { addUsage, type Usage } from '../../domain/execution/usage.ts'
import type { SharingDecision } from '../../domain/users/sharing.ts'
import type { Message } from '../../domain/users/thread.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import { toJsonText } from './json/json-answer.ts'
import type { CallerCall } from './tools/caller-call.ts'

/** Usage and cost of a flow, over all steps and attempts. */
export interface FlowSpent {
  readonly flowId: string
  readonly usage: Usage
  /** US dollars: the sum of the known costs. Undefined when no cost is known. */
  readonly costUsd?: number
  readonly unpricedSteps: number
  readonly simulated: boolean
  /** Context that the user's policies withheld from providers, each once. */
  readonly withheld: readonly Withheld[]
}

/** The result of a flow as the answer of one model. */
export interface FlowAnswer extends FlowSpent {
  readonly text: string
  /** Text with which a model refused to answer. */
  readonly refusal?: string
  readonly finishReason: FinishReason
  /** Calls of tools of the client, for whose results the flow waits. Without them the flow has ended. */
  readonly toolCalls?: readonly CallerCall[]
  /** Provider that wrote the text; several, joined by `+`, for a text that several steps wrote. */
  readonly provider: string
}

export type Withheld = Pick<SharingDecision, 'kind' | 'to' | 'rule'>

/**
 * The answer of a completed flow; undefined when none of its steps succeeded. `asJson`: the JSON value of the answer,
 * without the text around it. `part`: of the execution, whose spending counts.
 */
export function toAnswer(
  { flowId, finalOutput, steps }: Pick<FlowExecutionResult, 'flowId' | 'finalOutput' | 'steps'>,
  asJson = false,
  part: Part = {},
): FlowAnswer | undefined {
  const writers = toAnswerWriters({ finalOutput, steps })
  if (!writers) return undefined
  const { final, finishReason, provider } = writers
  const text = asJson && final ? toJsonText(finalOutput, final) : finalOutput
  return { ...toSpent(flowId, steps, part), text, finishReason, provider }
}

export const noAnswer = (flowId: string): OrchestratorError =>
  new OrchestratorError('STEP_FAILED', 'The flow ended without an answer: none of its steps succeeded', { details: { flowId } })

/** The answer of a flow that ended because a model refused; undefined when none did. */
export function toRefusal(flowId: string, steps: readonly StepResult[], part: Part = {}): FlowAnswer | undefined {
  const refused = steps.findLast(({ refusal }) => refusal !== undefined)
  if (refused?.refusal === undefined) return undefined
  const { refusal, provider } = refused
  return { ...toSpent(flowId, steps, part), text: '', refusal, finishReason: 'refusal', provider }
}

/** The answer of a flow that waits for results of tools of its client. */
export const toToolCalls = (
  flowId: string,
  steps: readonly StepResult[],
  toolCalls: readonly CallerCall[],
  part: Part = {},
): FlowAnswer => ({
  ...toSpent(flowId, steps, part),
  text: '',
  toolCalls,
  finishReason: 'tool_calls',
  provider: steps.at(-1)?.provider ?? '',
})

/** A part of an execution, between two answers to the client. */
export interface Part {
  /** When the flow was paused for the results that this part continues from. */
  readonly after?: Date | undefined
  readonly until?: Date
}

/** What the attempts of the steps have spent that started within the part. */
export function toSpent(flowId: string, all: readonly StepResult[], { after, until }: Part = {}): FlowSpent {
  const isWithin = ({ startedAt }: Attempt) => (!after || startedAt > after) && (!until || startedAt <= until)
  const steps = all.map((step) => ({ ...step, attempts: step.attempts.filter(isWithin) }))
  const attempts = steps.flatMap((step) => step.attempts)
  return {
    flowId,
    usage: addUsage(attempts.map(({ usage }) => usage)),
    costUsd: sumCost(attempts),
    unpricedSteps: countUnpricedSteps(steps),
    simulated: steps.some(({ simulated }) => simulated),
    withheld: withheldBy(steps),
  }
}

/**
 * Context that the author of the flow excluded or that was too long is left out, because the user's policies did not
 * withhold it.
 */
function withheldBy(steps: readonly StepResult[]): readonly Withheld[] {
  const decisions = new Map<string, Withheld>()
  for (const { kind, to, rule } of steps.flatMap((step) => step.withheld)) {
    if (rule === 'no_policy' || rule.startsWith('allow')) decisions.set(`${kind} ${to} ${rule}`, { kind, to, rule })
  }
  return [...decisions.values()]
}

/** US dollars as a decimal number, for a header. */
export const toDecimal = (costUsd: number): string => costUsd.toFixed(9).replace(/\.?0+$/, '')

/** Fields that OpenAI's format does not have, under a key that its clients ignore. */
export const toExtension = ({ flowId, costUsd, unpricedSteps, simulated, withheld }: FlowSpent) => ({
  flow_id: flowId,
  ...(costUsd !== undefined && { cost_usd: costUsd }),
  unpriced_steps: unpricedSteps,
  simulated,
  ...(withheld.length > 0 && { withheld }),
})

/** Adds the answer to the thread of its flow; see toAnswerMessage. */
export function addAnswer(
  conversations: Pick<ConversationService, 'addMessage'>,
  { threadId, userId }: { readonly threadId: string; readonly userId: string },
  answer: FlowAnswer,
): Promise<Message> {
  const { id, ...message } = toAnswerMessage(answer)
  return conversations.addMessage(threadId, userId, message, { id })
}
