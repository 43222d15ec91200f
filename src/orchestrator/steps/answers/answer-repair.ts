import type { Call, CallContext, CallResponse } from '../../../calls/call.ts'
import { type PoolDirectory, targetOf } from '../../../domain/definition/call/pools.ts'
import type { Target } from '../../../domain/definition/flow-definition.ts'
import type { ModelMessage } from '../../../domain/execution/model-call.ts'
import { withoutCalls } from '../../tools/tool-loop.ts'
import { announceNext, type CallIntentsDeps } from '../call-intents.ts'
import type { StepTask } from '../step-inputs.ts'
import type { StepOutcomeDraft } from '../step-record.ts'

export interface RepairDeps extends CallIntentsDeps {
  /** Implemented by createCall. */
  readonly call: Call
  readonly pools: Pick<PoolDirectory, 'membersOf'>
}

/** The call whose answer could not be read. */
export interface UnreadAnswer {
  readonly task: StepTask
  readonly sample: number
  readonly draft: StepOutcomeDraft
  readonly context: CallContext
}

/**
 * Asks the model that answered once more, without tools. The answer that could not be read is stored before, so that a
 * crash does not pay for it again. Undefined if there is no answer to repair.
 */
export function repairAnswer(
  deps: RepairDeps,
  { task, sample, draft, context }: UnreadAnswer,
  text: string,
  problem: string,
): Promise<CallResponse> | undefined {
  const { prompt, response } = draft
  if (!prompt || !response) return undefined
  draft.keepAnswer = undefined
  const content = `Your answer could not be read: ${problem}. Answer again with the JSON alone, nothing before or after it.`
  const { step } = task
  const target: Target = { provider: response.provider, model: response.requestedModel }
  // A member of a pool is asked through its pool, which counts the call.
  const through = targetOf(deps.pools, [step, ...step.fallbacks], target) ?? target
  const messages: readonly ModelMessage[] = [...prompt.messages, { role: 'assistant', content: text }, { role: 'user', content }]
  const request = { ...withoutCalls(prompt), ...target, messages }
  return announceNext(deps, task, sample, draft, request).then(() =>
    deps.call(
      { targets: [through], prepare: () => request, writer: { ...target, only: true } },
      { ...context, answerCaching: undefined, announcesFirst: false },
    ),
  )
}
