import type { ErrorCode } from '../../errors/error-codes.ts'
import type { FlowStatus, FlowType, StepAction } from '../vocabulary.ts'
import type { FinishReason, ModelRequest, ModelResponse, ModelSettings } from './model-call.ts'
import type { Attempt } from './step-result.ts'
import type { Usage } from './usage.ts'

/**
 * Observes flows for traces, metrics and logs. Created once per Polyphony instance by createTelemetry. Must never
 * throw, because an error of an observer must not affect the flow.
 */
export interface FlowObserver {
  /**
   * Whether executions are observed; called once per execution. If false, no observation is created and no event is
   * built.
   */
  isWatching(): boolean
  /** Called if `isWatching` returned true, in the async context in which the flow was started. */
  flowStarted(flow: StartedFlow): FlowObservation | Promise<FlowObservation>
}

/** Facts about one execution at its start, without prompt and user. */
export interface StartedFlow {
  readonly flowId: string
  readonly threadId: string
  readonly name: string
  readonly flowType: FlowType
  /** Set if only this step of a flow is executed (executeStep). */
  readonly stepId?: string
  /** Whether any provider of the flow is the simulator. */
  readonly simulated: boolean
  /** Whether earlier executions of the flow left results. */
  readonly resumed: boolean
}

/** Observes one execution. */
export interface FlowObservation {
  /**
   * Wraps the work of the whole execution, for example in a trace context. Must run it at once and return its result.
   * Absent if there is nothing to wrap it in.
   */
  readonly within?: <T>(work: () => T) => T
  /**
   * Called once per logical call, which includes its retries and fallbacks. Absent when no observer needs call events.
   */
  readonly callStarted?: (call: CallStart) => CallObservation
  /** Called exactly once, however the execution ends. */
  ended(ending: FlowEnding): void
}

export interface FlowEnding {
  /**
   * `INTERRUPTED`: this process lost the flow or handed it over; another process may resume it. `PAUSED`: the flow
   * waits.
   */
  readonly status: Extract<FlowStatus, 'COMPLETED' | 'FAILED' | 'CANCELLED' | 'PAUSED'> | 'INTERRUPTED'
  readonly errorCode?: ErrorCode
  /** Milliseconds of this execution. */
  readonly durationMs: number
  /** US dollars of the flow, including earlier executions: the sum of all known costs. */
  readonly costUsd: number
  /** Tokens of the flow, including earlier executions. */
  readonly tokens: number
  readonly unpricedSteps: number
  readonly simulated: boolean
}

/** Facts about one logical call at its start, without the prompt. */
export interface CallStart {
  readonly stepId: string
  /** From 1; rises inside loops. */
  readonly iteration: number
  /** From 1 for a step with samples, else 0. */
  readonly sample: number
  readonly action: StepAction
  /** Provider of the first target. */
  readonly provider: string
  readonly model: string
  readonly streamed: boolean
  /** Whether the answer must fit a JSON Schema. */
  readonly structured: boolean
  readonly settings: ModelSettings
}

/** Observes one logical call. */
export interface CallObservation {
  /**
   * Wraps the work of the whole call, for example in a trace context. Must run it at once and return its result. Absent
   * if there is nothing to wrap it in. Chunks and retries are delivered outside of it.
   */
  readonly within?: <T>(work: () => T) => T
  /**
   * Called with the ledger row of each attempt, in order, numbered from 1 within the call. Its error message may quote
   * the vendor.
   */
  attempted(attempt: Attempt): void
  /** Called exactly once, after the last attempt, however the call ends. */
  ended(ending: CallEnding): void
  /** Absent where prompts and answers must not be observed. */
  readonly content?: CallContent
}

/** Receives the texts of users and models. */
export interface CallContent {
  /** Called before the first attempt at each target. */
  asked(prompt: Pick<ModelRequest, 'system' | 'messages'>): void
  answered(answer: Pick<ModelResponse, 'text' | 'toolCalls'>): void
}

export interface CallEnding {
  /** Milliseconds, including waits. */
  readonly durationMs: number
  /** Milliseconds to the first chunk of a streamed answer. */
  readonly firstChunkMs?: number
  /** Number of attempts that were sent. */
  readonly attempts: number
  /** Sum over the attempts; absent if none is known to have been billed. */
  readonly usage?: Usage
  /** US dollars, sum over the attempts with a known price. */
  readonly costUsd?: number
  /** Whether an attempt was billed without a known price. */
  readonly unpriced: boolean
  readonly simulated: boolean
  readonly answer?: {
    readonly provider: string
    /** The model that answered, as the provider names it. */
    readonly model: string
    readonly finishReason: FinishReason
  }
  readonly errorCode?: ErrorCode
  /** Whether cancellation, a timeout of the call or the failure of a sibling ended the call. */
  readonly aborted: boolean
}
