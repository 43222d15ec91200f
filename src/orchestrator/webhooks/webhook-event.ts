import type { FlowUpdateData } from '../../domain/execution/flow-update.ts'
import type { ClaimedDelivery, FlowOutcome, StoredUpdate } from '../../repositories/repository.ts'

/** Facts of an update for the body of a webhook: ids, status, amounts and codes, never prompts or outputs. */
export function toFacts(update: StoredUpdate, outcome: FlowOutcome | undefined): Readonly<Record<string, unknown>> {
  const { path, iteration } = update
  return { path, iteration, ...factsOf(update), ...(outcome && outcomeFacts(outcome)) }
}

const outcomeFacts = ({ status, error, result, simulated }: FlowOutcome) => ({
  status,
  errorCode: error?.code,
  totalCostUsd: result?.totalCost,
  totalTokens: result?.totalTokens,
  executionMs: result?.totalExecutionTime,
  stopReason: result?.stopReason,
  simulated,
})

/** The names of the data of an update whose values a webhook carries. Every other value may hold text of users. */
const SHOWN = {
  flow_start: ['flowType', 'totalSteps', 'resumed', 'simulated'],
  step_start: ['provider', 'model', 'action', 'stepIndex'],
  step_progress: [],
  step_retry: ['attempt', 'provider', 'model', 'delayMs'],
  tool_call: ['turn', 'tool', 'needsApproval'],
  tool_result: ['turn', 'tool', 'isError', 'executionTime'],
  step_skipped: [],
  step_complete: ['status', 'provider', 'model', 'cost'],
  context_withheld: [],
  flow_paused: [],
  flow_complete: [],
  flow_cancelled: [],
  error: [],
} as const satisfies { readonly [Type in keyof FlowUpdateData]: readonly (keyof FlowUpdateData[Type])[] }

function factsOf({ type, data }: StoredUpdate): Record<string, unknown> {
  // A stored update has no data where a recorded result holds it.
  if (typeof data !== 'object' || data === null) return type === 'step_complete' ? { status: 'SUCCESS' } : {}
  const facts: Record<string, unknown> = {}
  for (const name of SHOWN[type]) facts[name] = Reflect.get(data, name)
  const errorCode: unknown = type === 'error' ? Reflect.get(data, 'code') : codeOf(Reflect.get(data, 'error'))
  return errorCode === undefined ? facts : { ...facts, errorCode }
}

const codeOf = (error: unknown): unknown => (typeof error === 'object' && error !== null ? Reflect.get(error, 'code') : undefined)

/** The same for every attempt and every webhook: it identifies the update. */
export const toMessageId = ({ flowId, seq }: Pick<ClaimedDelivery, 'flowId' | 'seq'>): string =>
  `msg_${flowId.replaceAll('-', '')}_${seq}`

/** The body of a message, in the structure that Standard Webhooks recommends. */
export function toBody({ type, timestamp, flowId, flow, seq, facts }: ClaimedDelivery): string {
  const ids = { flowId, flowName: flow?.name, threadId: flow?.threadId, userId: flow?.userId }
  return JSON.stringify({ type, timestamp, data: { ...ids, seq, ...facts } })
}
