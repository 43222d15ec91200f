import type { ErrorInfo } from '../../errors/orchestrator-error.ts'
import type { SharingDecision } from '../users/sharing.ts'
import type { Attachment } from '../users/thread.ts'
import type { StepWait } from '../waiting/wait.ts'
import type { FlowExecutionResult } from './flow-result.ts'
import type { StepResult } from './step-result.ts'

/** Data of each update type. */
export interface FlowUpdateData {
  flow_start: {
    readonly name: string
    readonly flowType: string
    readonly totalSteps: number
    readonly resumed: boolean
    readonly simulated: boolean
  }
  step_start: {
    readonly provider: string
    readonly model: string
    readonly action: string
    readonly stepIndex: number
    readonly sharing: readonly SharingDecision[]
  }
  /** `kind` is absent for answer text. */
  step_progress: { readonly delta: string; readonly kind?: 'reasoning'; readonly sample?: number }
  step_retry: {
    readonly attempt: number
    /** Milliseconds until the next attempt; 0 for a fallback. */
    readonly delayMs: number
    readonly error: ErrorInfo
    readonly provider: string
    readonly model: string
    /** Whether the text streamed so far is void and the answer restarts. */
    readonly restart: boolean
  }
  /** A model calls a tool, which runs now, or when a user has approved the call. */
  tool_call: {
    /** From 1. */
    readonly turn: number
    readonly callId: string
    /** `<provider>/<operation>`. */
    readonly tool: string
    readonly arguments?: unknown
    readonly needsApproval?: true
    readonly sample?: number
  }
  tool_result: {
    readonly turn: number
    readonly callId: string
    readonly tool: string
    /** The beginning of what the model is answered. */
    readonly output: string
    readonly isError: boolean
    /** Milliseconds. */
    readonly executionTime: number
    /** Why the model does not get the whole result. */
    readonly cut?: string
    /** Stored files of the result. */
    readonly files?: readonly Attachment[]
    readonly sample?: number
  }
  step_skipped: { readonly reason: string }
  step_complete: StepResult
  context_withheld: SharingDecision
  /** What the flow waits for. It continues by itself. */
  flow_paused: { readonly reason: string; readonly waits: readonly PausedStep[] }
  flow_complete: FlowExecutionResult
  flow_cancelled: { readonly reason: string }
  error: ErrorInfo
}

/** A step that waits, as its flow reports it. */
export interface PausedStep extends Omit<StepWait, 'flowId' | 'threadId' | 'since' | 'deadline'> {
  /** ISO 8601. */
  readonly since: string
  readonly deadline?: string
}

export type FlowUpdateType = keyof FlowUpdateData

/** All types of updates, as configuration names them. */
export const FLOW_UPDATE_TYPES = [
  'flow_start',
  'step_start',
  'step_progress',
  'step_retry',
  'tool_call',
  'tool_result',
  'step_skipped',
  'step_complete',
  'context_withheld',
  'flow_paused',
  'flow_complete',
  'flow_cancelled',
  'error',
] as const satisfies readonly FlowUpdateType[]

/** One numbered event of a running flow, as clients see it. `seq` rises by at least 1 per flow, from 1. */
export type FlowUpdate = {
  [Type in FlowUpdateType]: {
    readonly seq: number
    readonly flowId: string
    readonly type: Type
    readonly stepId?: string
    /** Address of the step within the flow. */
    readonly path?: string
    readonly iteration?: number
    readonly data: FlowUpdateData[Type]
    readonly timestamp: Date
  }
}[FlowUpdateType]

/** Update types after which no update comes until the flow is executed again. A paused flow continues by itself. */
export const FINAL_UPDATES: ReadonlySet<FlowUpdateType> = new Set(['flow_complete', 'flow_cancelled', 'error'])
