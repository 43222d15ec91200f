import type { Target } from '../domain/definition/flow-definition.ts'
import type { ModelRequest, ModelResponse } from '../domain/execution/model-call.ts'
import type { CallObservation, CallStart } from '../domain/execution/observation.ts'
import type { Attempt } from '../domain/execution/step-result.ts'
import type { CallOrigin } from '../domain/tools/call-origin.ts'
import type { ErrorInfo } from '../errors/orchestrator-error.ts'

/**
 * Calls: one logical request of a step, with its retries and fallbacks. `createCall` builds the layers around each
 * attempt. The step runner calls once per step, iteration and sample.
 */

/** The model that wrote what a request continues. */
export interface Writer extends Target {
  /** Whether no other member of its pool may answer. Without it the writer is the first to be asked while it works. */
  readonly only?: true
}

/** One logical request: the models that may answer it, and the prompt for each. */
export interface CallRequest {
  /** First the provider and model of the step, then its fallbacks. */
  readonly targets: readonly Target[]
  /**
   * Builds the request for one target. Called once per target, before its first attempt, because each provider may see
   * different context; for a pool, once per member that is asked. Rejects with DATA_SHARING_DENIED. Implemented by
   * `createStepPrompt`.
   */
  readonly prepare: (target: Target) => Promise<PreparedRequest> | PreparedRequest
  /** Present if the request continues what a member of a pool wrote. */
  readonly writer?: Writer
}

/** A request to one model of one provider account. */
export interface PreparedRequest extends ModelRequest {
  /** Id of the configured provider. */
  readonly provider: string
  /**
   * Upper estimate of the tokens of `system` and `messages`. Called before every attempt where a limit or a token rate
   * is set, so implementations must cache the count.
   */
  readonly countInputTokens: () => Promise<number>
  /** The step for which the request is made; functions, HTTP operations and MCP tools use it. */
  readonly origin?: CallOrigin
  /** Number of the key to use, from 0, for a provider with several keys. Set by the layer `balance`. */
  readonly account?: number
  /**
   * Present for a pool, whose request holds no prompt: returns the request to one of its members, the same one for
   * every attempt of the call. Rejects with DATA_SHARING_DENIED.
   */
  readonly prepareFor?: CallRequest['prepare']
  /** Present for a pool whose request continues what one of its members wrote. */
  readonly writer?: Writer
}

/** Options and callbacks of one call. One object per call; layers must not keep it. */
export interface CallContext {
  /** Aborted when the flow is cancelled, one of its timeouts passes or a sibling step fails. */
  readonly signal: AbortSignal
  /** The controller of `signal`, if it belongs to this call alone. The timeout of the call then needs no second one. */
  readonly abort?: AbortController
  /**
   * Milliseconds for the whole call, waits included. When they are over, the call rejects with STEP_TIMEOUT. A target
   * with fallbacks after it gets an equal share of the remaining time, so that a silent provider leaves time for them.
   * When its share is over, it fails with PROVIDER_UNAVAILABLE and `details.timeout` `share`.
   */
  readonly timeoutMs?: number
  /** Milliseconds from sending a streamed request to its first chunk. Longer waits fail with PROVIDER_UNAVAILABLE. */
  readonly firstChunkTimeoutMs?: number
  /** Milliseconds between two chunks of a streamed answer. Longer waits fail with PROVIDER_UNAVAILABLE. */
  readonly idleTimeoutMs?: number
  /** Attempts after the first one, per target. */
  readonly maxRetries: number
  /** Whether to retry and fall back even if text was already delivered. */
  readonly restartAfterFirstToken: boolean
  /**
   * Whether a cut answer fails: with OUTPUT_INVALID at the limit of output tokens, with CONTENT_FILTERED if a filter
   * cut it. If absent, a cut answer is returned.
   */
  readonly complete?: boolean
  /** The limits of the flow; one object shared by all its calls. */
  readonly budget?: Budget
  /** The budgets over many flows that the flow counts against; one object shared by all its calls. */
  readonly sharedBudgets?: SharedBudgets
  /** Present if the answer may be kept, and an answer that was kept may be served. */
  readonly answerCaching?: AnswerCaching
  /** Receives the text of the answer in chunks, in order. If present, the request is streamed. */
  readonly onDelta?: (text: string) => void
  /** Receives reasoning text that the provider sends separately from the answer. */
  readonly onReasoning?: (text: string) => void
  /**
   * Called before every attempt but the first; the attempt starts when the promise resolves. Stores the attempts so far
   * and the next one. Implemented by announceNext of the step runner.
   */
  readonly beforeRepeat?: (request: PreparedRequest) => Promise<void>
  /** Whether `beforeRepeat` is called before the first attempt too, because a pool decides only then whom it asks. */
  readonly announcesFirst?: boolean
  /** Called before each wait for another attempt, and before each fallback. */
  readonly onRetry?: (retry: RetryNotice) => void
  /**
   * Receives one ledger row per attempt, in order, also for failed and aborted attempts, numbered from 1 within the
   * call.
   */
  readonly onAttempt: (attempt: Attempt) => void
  /**
   * Called once before the first attempt if traces, metrics or logs observe the call. Implemented by the telemetry
   * module.
   */
  readonly observe?: (call: Pick<CallStart, 'provider' | 'model' | 'streamed'>) => CallObservation
}

/** How the answer of one call may be kept and served again. */
export interface AnswerCaching {
  /** The flow or user that may get the answer, or all users, as text. */
  readonly scope: string
  readonly flowId: string
  /** From 1 with `samples`, because each sample is an answer of its own; otherwise 0. */
  readonly sample: number
  /** Milliseconds for which an answer is served; default: those of the configuration. */
  readonly ttlMs?: number
  /** Whether the reasoning beside the answer may be kept with it. */
  readonly keepsReasoning: boolean
  /**
   * Receives the function that keeps the answer of a request. The caller calls it when the answer has proved to be of
   * use; an answer that does not fit its schema must not be served again.
   */
  readonly onAnswer: (keep: () => void) => void
}

/** Announces another attempt. */
export interface RetryNotice {
  /** Number of the failed attempt. */
  readonly attempt: number
  /** Milliseconds until the next attempt; 0 before a fallback. */
  readonly delayMs: number
  /** Error of the failed attempt. */
  readonly error: ErrorInfo
  /** Provider of the next attempt. */
  readonly provider: string
  /** Model of the next attempt. */
  readonly model: string
  /** Whether text was already delivered, which is void now. */
  readonly restart: boolean
}

export interface CallResponse extends ModelResponse {
  /** Id of the provider that answered. */
  readonly provider: string
  readonly requestedModel: string
  readonly simulated: boolean
  /** Why the text is incomplete, in words; absent if it is complete. */
  readonly cut?: string
}

/**
 * Resolves with an answer that holds text; an answer without text is an error (`usable-answer.ts`). Rejects with the
 * OrchestratorError of the last attempt, or with `signal.reason` after an abort. Implemented by `createCall`.
 */
export type Call = (request: CallRequest, context: CallContext) => Promise<CallResponse>

/** What a request would use and cost if it got the longest answer. */
export interface CallEstimate {
  readonly inputTokens: number
  readonly outputTokens: number
  readonly simulated: boolean
  /** US dollars; `undefined` if the price is unknown. A promise until the price list is loaded. */
  readonly costUsd: Promise<number | undefined> | number | undefined
}

/**
 * Estimates a request before it is sent. Called once per attempt, so it must neither count tokens nor wait. Implemented
 * by `createCallEstimate`.
 */
export type EstimateCall = (request: PreparedRequest) => CallEstimate

/** State of one call, shared and changed by its layers. */
export interface CallProgress {
  /** Attempts that were sent. */
  attempts: number
  /** Whether text of the current or last attempt has reached `onDelta`. */
  textDelivered: boolean
  /** Targets after the current one. */
  targetsLeft: number
  /**
   * Deadline of the current target, in milliseconds since the epoch. Waits that would pass it are not started. Absent:
   * no deadline.
   */
  endsAtMs?: number
}

/** The context of one attempt. Layers must not keep it after the attempt. */
export interface AttemptContext extends Omit<CallContext, 'observe'> {
  readonly progress: CallProgress
  /** Maximum number of output tokens that Polyphony set for a request without `settings.maxTokens`. */
  readonly engineMaxTokens?: number
  /** Called once per chunk from the provider, with or without text. */
  readonly onActivity?: () => void
  /**
   * Set for a member of a pool and for one of several keys, which are left and not waited for: a pause is an error
   * then, and so is a queue of rates in which this many calls wait.
   */
  readonly queueLimit?: number
}

/**
 * One attempt at one target. Rejects with an OrchestratorError, or with `signal.reason` within 100 ms of an abort.
 * Must remove its listeners from `signal` before it settles.
 */
export type AttemptCall = (request: PreparedRequest, context: AttemptContext) => Promise<CallResponse>

/**
 * Adds one concern, such as retries or a rate limit, around every attempt. Must pass on unchanged all answers, errors
 * and fields of the context that are not its concern.
 *
 * ```ts
 * import type { CallLayer } from './call.ts'
 *
 * // Calls `record` with the milliseconds of every attempt, also of failed ones.
 * export const timed =
 *   (record: (ms: number) => void): CallLayer =>
 *   (next) =>
 *   async (request, context) => {
 *     const startedAt = performance.now()
 *     return next(request, context).finally(() => record(performance.now() - startedAt))
 *   }
 * ```
 */
export type CallLayer = (next: AttemptCall) => AttemptCall

/**
 * Hard limits of one flow. A call reserves its worst case before each attempt and settles it afterwards, so that the
 * sum never exceeds the limit. Implemented by `createBudget`.
 */
export interface Budget {
  /** Throws LIMIT_EXCEEDED with `details` `{ limit, max, spent, reserved, needed }` if the worst case does not fit. */
  reserve(worstCase: Spend): Reservation
  /**
   * Like `reserve`, but waits if the worst case would fit without the reservations of other calls. Rejects with
   * `signal.reason` after an abort.
   */
  reserveWhenFree(worstCase: Spend, signal: AbortSignal): Reservation | Promise<Reservation>
  readonly spent: Spend
  /** Maximum number of output tokens for requests without `settings.maxTokens`. */
  readonly defaultMaxTokens: number
  /** Whether a limit of costs is set, so that unpriced models are rejected. */
  readonly limitsCost: boolean
}

/**
 * Budgets over many flows and processes. Reserved and settled like `Budget`, with the same figures. Implemented by
 * createFlowBudgets.
 */
export interface SharedBudgets {
  /** Whether any of them limits costs, so that unpriced models are rejected. */
  readonly limitsCost: boolean
  /**
   * Reserves the worst case in all budgets or in none. Waits while it would fit without the reservations of other
   * attempts, and while the database does not answer. Rejects with LIMIT_EXCEEDED, whose details name the budget and
   * `opensAt`, and with `signal.reason` after an abort.
   */
  reserve(worstCase: Spend, signal: AbortSignal): Promise<SharedReservation>
}

export interface SharedReservation {
  /**
   * As `settle` of `Reservation`; resolves when it is stored, and never rejects: a settlement that the database does
   * not accept now is kept and repeated.
   */
  settle(actual: Partial<Spend>): Promise<void>
}

export interface Spend {
  readonly costUsd: number
  readonly tokens: number
}

export interface Reservation {
  /**
   * Replaces the reservation by the actual spend. Unknown parts count as spent in full. Must be called exactly once.
   */
  settle(actual: Partial<Spend>): void
}
