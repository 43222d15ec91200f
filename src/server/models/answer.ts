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

/** What a flow used up, over all steps and attempts. */
export interface FlowSpent {
  readonly flowId: string
  readonly usage: Usage
  /** US dollars: the sum of what is known. Absent where nothing is. */
  readonly costUsd?: number
  readonly unpricedSteps: number
  readonly simulated: boolean
  /** What the user's policies kept from providers, each once. */
  readonly withheld: readonly Withheld[]
}

/** What a flow came to, as one answer of one model. */
export interface FlowAnswer extends FlowSpent {
  readonly text: string
  /** A model would not answer, in these words. */
  readonly refusal?: string
  readonly finishReason: FinishReason
  /** Who wrote the text; several where it was put together. */
  readonly provider: string
}

export type Withheld = Pick<SharingDecision, 'kind' | 'to' | 'rule'>

/** The answer of a flow that has ended well; `undefined` where none of its steps succeeded. `asJson`: the value that was read from the answer, without the text around it. */
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
    // Of a text that is put together, a part that was cut counts for the whole.
    finishReason: deps.map(({ finishReason }) => finishReason).find(isCut) ?? final?.finishReason ?? 'stop',
    provider: writers.join('+'),
  }
}

const isCut = (reason: FinishReason | undefined): boolean => reason === 'length' || reason === 'content_filter'

export const noAnswer = (flowId: string): OrchestratorError =>
  new OrchestratorError('STEP_FAILED', 'The flow ended without an answer: none of its steps succeeded', { details: { flowId } })

/** The answer of a flow that ended because a model refused; `undefined` where none did. */
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

/** What the author of the flow kept back, or what was too long, is no matter of the user's policies. */
function withheldBy(steps: readonly StepResult[]): readonly Withheld[] {
  const decisions = new Map<string, Withheld>()
  for (const { kind, to, rule } of steps.flatMap((step) => step.withheld)) {
    if (rule === 'no_policy' || rule.startsWith('allow')) decisions.set(`${kind} ${to} ${rule}`, { kind, to, rule })
  }
  return [...decisions.values()]
}

/** US dollars as a decimal, for a header. */
export const toDecimal = (costUsd: number): string => costUsd.toFixed(9).replace(/\.?0+$/, '')

/** Facts beyond OpenAI's shapes, under a key of their own that its clients pass over. */
export const toExtension = ({ flowId, costUsd, unpricedSteps, simulated, withheld }: FlowSpent) => ({
  flow_id: flowId,
  ...(costUsd !== undefined && { cost_usd: costUsd }),
  unpriced_steps: unpricedSteps,
  simulated,
  ...(withheld.length > 0 && { withheld }),
})

/**
 * Adds the answer to the thread of its flow, so that the conversation can go on from it. Whoever finds the flow ended may add it, also two at the
 * same time, in one process or several: the id of the message follows from the flow, and the thread holds it once.
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
