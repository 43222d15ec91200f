import { toDerivedId } from '../derived-id.ts'
import type { Attempt, StepKey } from './step-result.ts'
import { stepResultId } from './step-result.ts'

/**
 * A request that is about to be sent to a provider. It is stored before the request and removed with the write of the
 * result, so that every stored intent is a call whose outcome is unknown. After a crash it becomes an attempt of the
 * ledger.
 */
export interface CallIntent extends StepKey {
  /** Number of the attempt, continued over all executions of the flow. */
  readonly number: number
  /** The same for the same attempt of the same flow, whichever process makes it. */
  readonly idempotencyKey: string
  readonly provider: string
  readonly model: string
  readonly startedAt: Date
  /** Estimated tokens of the request. */
  readonly inputTokens: number
  /** Maximum number of tokens of the answer. */
  readonly outputTokens: number
  /** US dollars for those tokens; absent if the model has no known price, and for the simulator. */
  readonly cost?: number
  readonly simulated: boolean
}

export const idempotencyKeyOf = (flowId: string, key: StepKey, number: number): string =>
  toDerivedId(`${stepResultId(flowId, key)}/${number}`)

/**
 * The key of a call of a function, an HTTP operation or an MCP tool. It has no number of the attempt: a repetition of
 * the call must not have a second effect.
 */
export const operationKeyOf = (flowId: string, { path, iteration }: Pick<StepKey, 'path' | 'iteration'>): string =>
  `${flowId}/${path}#${iteration}`

/** The error of an attempt whose process died before its outcome was recorded. */
export const OUTCOME_UNKNOWN = {
  code: 'CALL_OUTCOME_UNKNOWN',
  message: 'The process that made this call died before its outcome was recorded; the provider may bill it',
  retryable: false,
  details: {},
} as const

/** The attempt of a call whose outcome is unknown, with the cost that the intent estimated. */
export function toLostAttempt(intent: CallIntent): Attempt {
  const { number, provider, model, startedAt, inputTokens, outputTokens, cost, simulated } = intent
  const usage = { inputTokens, outputTokens, totalTokens: inputTokens + outputTokens, source: 'estimated' } as const
  return {
    number,
    provider,
    model,
    startedAt,
    executionTime: 0,
    usage,
    ...(cost !== undefined && { cost, costSource: 'estimated' }),
    error: OUTCOME_UNKNOWN,
    aborted: true,
    possiblyDoubleBilled: true,
    simulated,
  }
}
