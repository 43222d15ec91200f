import type { Target } from '../domain/definition/flow-definition.ts'
import type { ModelRequest, ModelResponse } from '../domain/execution/model-call.ts'
import type { CallObservation, CallStart } from '../domain/execution/observation.ts'
import type { Attempt } from '../domain/execution/step-result.ts'
import type { ErrorInfo } from '../errors/orchestrator-error.ts'

/** One logical request: who may answer, and how to ask them. */
export interface CallRequest {
  /** First the provider and model of the step, then its fallbacks. */
  readonly targets: readonly Target[]
  /**
   * What to send to one target. Called before each first attempt at it: decides anew what that provider may see.
   * Rejects with DATA_SHARING_DENIED.
   */
  readonly prepare: (target: Target) => Promise<PreparedRequest> | PreparedRequest
}

export interface PreparedRequest extends ModelRequest {
  readonly provider: string
  /** Tokens of system and messages, an upper estimate; asked for only where a limit or a token rate is set. Asked again for every try: must remember. */
  readonly countInputTokens: () => Promise<number>
}

/** What surrounds one call. One object per call; layers never keep it. */
export interface CallContext {
  /** Cancel of the flow, its timeouts, a failed sibling. */
  readonly signal: AbortSignal
  /** The controller of `signal`, where it was made for this call alone: its timeout aborts that one instead of another of its own. */
  readonly abort?: AbortController
  /**
   * Milliseconds for everything of this call, waits included; over it: STEP_TIMEOUT. A target that others follow gets an equal share of what is left,
   * so that its silence does not take the time of its fallbacks; over it: PROVIDER_UNAVAILABLE with `details.timeout` `share`.
   */
  readonly timeoutMs?: number
  /** Milliseconds from sending a streamed request to its first piece; over it: PROVIDER_UNAVAILABLE. */
  readonly firstChunkTimeoutMs?: number
  /** Milliseconds between two pieces of a streamed answer; over it: PROVIDER_UNAVAILABLE. */
  readonly idleTimeoutMs?: number
  /** Tries beyond the first, per target. */
  readonly maxRetries: number
  /** Retry and fall back although text was already delivered. */
  readonly restartAfterFirstToken: boolean
  /** An answer that was cut fails: OUTPUT_INVALID at the bound of output tokens, CONTENT_FILTERED by a filter. Absent: it is passed on. */
  readonly complete?: boolean
  /** The flow's limits; one object shared by all its calls. */
  readonly budget?: Budget
  readonly onDelta?: (text: string) => void
  /** Receives reasoning text that is sent apart from the answer. */
  readonly onReasoning?: (text: string) => void
  /** Told before each wait for a further try. */
  readonly onRetry?: (retry: RetryNotice) => void
  /** Receives one ledger row per try, in order, also for failed and aborted tries. Numbers are from 1 within this call. */
  readonly onAttempt: (attempt: Attempt) => void
  /** Asked once, before the first try, for who watches this call. Absent: nobody does. */
  readonly observe?: (call: Pick<CallStart, 'provider' | 'model' | 'streamed'>) => CallObservation
}

export interface RetryNotice {
  /** Number of the try that failed. */
  readonly attempt: number
  readonly delayMs: number
  readonly error: ErrorInfo
  /** Who is tried next. */
  readonly provider: string
  readonly model: string
  /** Text was already delivered and is void now. */
  readonly restart: boolean
}

export interface CallResponse extends ModelResponse {
  /** Who answered. */
  readonly provider: string
  readonly requestedModel: string
  readonly simulated: boolean
  /** Why the text is not whole, in words; absent where it ended by itself. */
  readonly cut?: string
}

/**
 * Resolves with an answer that holds text; one without is an error like any other (`usable-answer.ts`). Rejects with the OrchestratorError of the last
 * try, or with `signal.reason`.
 */
export type Call = (request: CallRequest, context: CallContext) => Promise<CallResponse>

/** What has happened in one call so far; the layers share and change it. */
export interface CallProgress {
  /** Tries that were sent. */
  attempts: number
  /** Text of the try under way, or of the last one, has reached `onDelta`. */
  textDelivered: boolean
  /** Targets that come after the one being tried. */
  targetsLeft: number
  /** When the time of the target being tried is over, milliseconds since the epoch; absent: never. A wait that would last longer is not begun. */
  endsAtMs?: number
}

/** The context as the layers around one try see it. Must not be kept after the try. */
export interface AttemptContext extends Omit<CallContext, 'observe'> {
  readonly progress: CallProgress
  /** Output bound that the engine gave to a request that names none. */
  readonly engineMaxTokens?: number
  /** Called once per piece that arrives from the provider, text or not. */
  readonly onActivity?: () => void
}

/**
 * One try at one target: what the inner layers wrap. Rejects with an OrchestratorError, or with `signal.reason` within 100 ms of an abort
 * in whatever phase it is. Must leave nothing behind on `signal` when it settles.
 */
export type AttemptCall = (request: PreparedRequest, context: AttemptContext) => Promise<CallResponse>
/** Wraps one concern around every try. Must pass answers, errors and the context on unchanged where they are not its concern. */
export type CallLayer = (next: AttemptCall) => AttemptCall

/** Hard limits of one flow. Reserve before a try, settle after it; the sum never passes the limit. */
export interface Budget {
  /** Throws LIMIT_EXCEEDED with `details` `{ limit, max, spent, reserved, needed }` when the worst case does not fit. */
  reserve(worstCase: Spend): Reservation
  /**
   * Reserves as soon as it fits: waits where only reservations of other calls stand in the way, and throws or rejects as `reserve` does where
   * what is spent does. Rejects with `signal.reason`.
   */
  reserveWhenFree(worstCase: Spend, signal: AbortSignal): Reservation | Promise<Reservation>
  readonly spent: Spend
  /** Output bound given to calls that name none while a limit is set. */
  readonly defaultMaxTokens: number
  readonly limitsCost: boolean
}

export interface Spend {
  readonly costUsd: number
  readonly tokens: number
}

export interface Reservation {
  /** Replaces the reservation by what was really spent; unknown parts stay reserved as spent. Called exactly once. */
  settle(actual: Partial<Spend>): void
}
