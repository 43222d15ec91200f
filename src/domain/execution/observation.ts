import type { ErrorCode } from '../../errors/error-codes.ts'
import type { FlowStatus, FlowType, StepAction } from '../vocabulary.ts'
import type { FinishReason, ModelRequest, ModelResponse, ModelSettings } from './model-call.ts'
import type { Attempt } from './step-result.ts'
import type { Usage } from './usage.ts'

/**
 * Watches flows from outside, for traces, metrics and logs. Built once per composition.
 * Must never throw: whatever it does, the flow goes on.
 */
export interface FlowObserver {
  /** Asked once per execution. False: nothing of it is told, and nothing is built for the telling. */
  isWatching(): boolean
  /** Asked where `isWatching` was true, in the async context of who started the flow. */
  flowStarted(flow: FlowStart): FlowObservation | Promise<FlowObservation>
}

/** One execution of a flow as it starts. Holds no prompt and no user. */
export interface FlowStart {
  readonly flowId: string
  readonly threadId: string
  readonly name: string
  readonly flowType: FlowType
  /** Only this step is executed, of a flow that stands still. */
  readonly stepId?: string
  /** A provider of the flow is the simulator. */
  readonly simulated: boolean
  /** PriorState executions left results. */
  readonly resumed: boolean
}

/** Watches one execution. */
export interface FlowObservation {
  /** Must run the work at once and give back what it gives. The work reaches to the end of the execution. Absent: it runs as it is. */
  readonly within?: <T>(work: () => T) => T
  /** Called once per logical call, tries and fallbacks included. Absent: nobody looks at calls. */
  readonly callStarted?: (call: CallStart) => CallObservation
  /** Called once, whatever the end. */
  ended(ending: FlowEnding): void
}

export interface FlowEnding {
  /** `INTERRUPTED`: this process lost the flow or left it to others; it may well go on. */
  readonly status: Extract<FlowStatus, 'COMPLETED' | 'FAILED' | 'CANCELLED'> | 'INTERRUPTED'
  readonly errorCode?: ErrorCode
  /** Milliseconds of this execution. */
  readonly durationMs: number
  /** US dollars of the flow, earlier executions included: the sum of what is known. */
  readonly costUsd: number
  /** Tokens of the flow, earlier executions included. */
  readonly tokens: number
  readonly unpricedSteps: number
  readonly simulated: boolean
}

/** One logical call as it starts. Holds no prompt. */
export interface CallStart {
  readonly stepId: string
  /** From 1; rises inside loops. */
  readonly iteration: number
  /** From 1 for a step with samples, else 0. */
  readonly sample: number
  readonly action: StepAction
  /** Who is asked first. */
  readonly provider: string
  readonly model: string
  readonly streamed: boolean
  /** The answer is to fit a JSON Schema. */
  readonly structured: boolean
  readonly settings: ModelSettings
}

/** Watches one logical call. */
export interface CallObservation {
  /**
   * Must run the work at once and give back what it gives. The work reaches to the end of the call. Absent: it runs as it is.
   * What the caller is told meanwhile (pieces, retries) it is told outside of this.
   */
  readonly within?: <T>(work: () => T) => T
  /** Called with the ledger row of every try, in order, numbered from 1 within the call. Its error message may quote what a vendor wrote. */
  attempted(attempt: Attempt): void
  /** Called once, whatever the end, after the last try. */
  ended(ending: CallEnding): void
  /** Absent: nobody may have prompts and answers, so they are not handed out. */
  readonly content?: CallContent
}

/** Receives what users and models wrote. */
export interface CallContent {
  /** Called before the first try at each target. */
  asked(prompt: Pick<ModelRequest, 'system' | 'messages'>): void
  answered(answer: Pick<ModelResponse, 'text' | 'toolCalls'>): void
}

export interface CallEnding {
  /** Milliseconds, waits included. */
  readonly durationMs: number
  /** Milliseconds to the first piece of a streamed answer. */
  readonly firstChunkMs?: number
  /** Tries that were sent. */
  readonly attempts: number
  /** Sum over the tries; absent where none is known to have been billed. */
  readonly usage?: Usage
  /** US dollars, sum over the tries with a known price. */
  readonly costUsd?: number
  /** A try was billed without a known price. */
  readonly unpriced: boolean
  readonly simulated: boolean
  readonly answer?: {
    readonly provider: string
    /** The model that answered, as the provider names it. */
    readonly model: string
    readonly finishReason: FinishReason
  }
  readonly errorCode?: ErrorCode
  /** Cancel, a timeout of the call or a sibling's failure ended it. */
  readonly aborted: boolean
}
