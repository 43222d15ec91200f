import type { ConversationService } from '../../conversations/conversation-service.ts'
import { toDerivedId } from '../../domain/derived-id.ts'
import { countUnpricedSteps, sumCost } from '../../domain/execution/cost.ts'
import type { FlowExecutionResult } from '../../domain/execution/flow-result.ts'
import type { FinishReason } from '../../domain/execution/model-call.ts'
import type { StepResult } from '../../domain/execution/step-result.ts'
import { addUsage, type Usage } from '../../domain/execution/usage.ts'
import type { SharingDecision } from '../../domain/users/sharing.ts'
import type { Message } from '../../domain/users/thread.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import { toJsonText } from './json/json-answer.ts'

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
  /** Provider that wrote the text; several, joined by `+`, for a text that several steps wrote. */
  readonly provider: string
}

export type Withheld = Pick<SharingDecision, 'kind' | 'to' | 'rule'>

/**
 * The answer of a completed flow; undefined when none of its steps succeeded. `asJson`: the JSON value of the answer,
 * without the text around it.
 */
export function toAnswer(
  { flowId, finalOutput, steps }: Pick<FlowExecutionResult, 'flowId' | 'finalOutput' | 'steps'>,
  asJson = false,
): FlowAnswer | undefined {
  const successes = steps.filter(({ status }) => status === 'SUCCESS')
  if (successes.length === 0) return undefined
  const final = successes.findLast(({ output }) => output === finalOutput)
  const deps = final ? [final] : successes.filter(({ output }) => output && finalOutput.includes(output))
  const writers = final ? [final.provider] : [...new Set(successes.map(({ provider }) => provider))]
  return {
    ...toSpent(flowId, steps),
    text: asJson && final ? toJsonText(finalOutput, final) : finalOutput,
    // A text of several steps counts as cut off when one of its parts was.
    finishReason: deps.map(({ finishReason }) => finishReason).find(isCut) ?? final?.finishReason ?? 'stop',
    provider: writers.join('+'),
  }
}

const isCut = (reason: FinishReason | undefined): boolean => reason === 'length' || reason === 'content_filter'

export const noAnswer = (flowId: string): OrchestratorError =>
  new OrchestratorError('STEP_FAILED', 'The flow ended without an answer: none of its steps succeeded', { details: { flowId } })

/** The answer of a flow that ended because a model refused; undefined when none did. */
export function toRefusal(flowId: string, steps: readonly StepResult[]): FlowAnswer | undefined {
  const refused = steps.findLast(({ refusal }) => refusal !== undefined)
  if (refused?.refusal === undefined) return undefined
  const { refusal, provider } = refused
  return { ...toSpent(flowId, steps), text: '', refusal, finishReason: 'refusal', provider }
}

export function toSpent(flowId: string, steps: readonly StepResult[]): FlowSpent {
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

/**
 * Adds the answer to the thread of its flow, so that the conversation can continue. Several processes may do this at
 * the same time: the id of the message is derived from the flow, so the thread contains it once.
 */
export function addAnswer(
  conversations: Pick<ConversationService, 'addMessage'>,
  { threadId, userId }: { readonly threadId: string; readonly userId: string },
  { flowId, text, refusal, provider, simulated }: FlowAnswer,
): Promise<Message> {
  const metadata = { orchestrationFlowId: flowId, provider, simulated }
  const message = { role: 'assistant' as const, content: refusal ?? text, metadata }
  return conversations.addMessage(threadId, userId, message, { id: toDerivedId(`answer of flow ${flowId}`) })
}
