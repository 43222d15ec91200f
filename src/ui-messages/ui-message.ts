import type { Usage } from '../domain/execution/usage.ts'

/*
 * The chunks of the UI message stream of the AI SDK (protocol `v1`) that flows are written as. They are written here so
 * that the types of this package depend on no version of the AI SDK, and use only what its versions 5 to 7 share.
 */

/** Metadata of a message that a flow answers with: `message.metadata` of `useChat`. */
export type FlowMessageMetadata = {
  readonly flowId: string
  /** Status of the flow when the stream ended; absent while it runs. */
  readonly status?: 'COMPLETED' | 'PAUSED'
  readonly simulated?: boolean
  /** Tokens over all steps and attempts; unknown figures are absent. */
  readonly usage?: Usage
  /** US dollars: the sum of the known costs. `null` when no cost is known. */
  readonly costUsd?: number | null
  /** Number of steps with at least one attempt without a known price. */
  readonly unpricedSteps?: number
}

/** State of the flow. Each new state replaces the last one. */
export type FlowState = {
  readonly flowId: string
  readonly name: string
  readonly flowType: string
  readonly totalSteps: number
  readonly simulated: boolean
  readonly status: 'RUNNING' | 'PAUSED' | 'COMPLETED' | 'FAILED' | 'CANCELLED'
  /** What a paused flow waits for. */
  readonly waits?: readonly WaitState[]
}

/** A decision or an event that a paused flow waits for; `path`, `iteration` and `hash` answer it. */
export type WaitState = {
  readonly path: string
  readonly iteration: number
  readonly kind: 'approve' | 'wait' | 'tool' | 'caller'
  readonly hash: string
  readonly prompt?: string
  readonly show?: string
  readonly schema?: Readonly<Record<string, unknown>>
  /** ISO 8601. */
  readonly deadline?: string
}

/** State of one run of one step. Each new state replaces the last one of the same run. */
export type StepRunState = {
  readonly stepId: string
  readonly path: string
  readonly iteration: number
  readonly status: 'RUNNING' | 'SUCCESS' | 'FAILED' | 'SKIPPED' | 'CANCELLED' | 'PENDING'
  readonly provider?: string
  readonly model?: string
  readonly action?: string
  /** Why the step was skipped. */
  readonly reason?: string
  /** The attempt that failed before the one that runs now. */
  readonly retry?: { readonly attempt: number; readonly code: string; readonly message: string }
  /** Text of the step, except of one whose text is the message's. */
  readonly output?: string
  /** Value of an answer with a schema. */
  readonly parsed?: unknown
  readonly usage?: Usage
  /** US dollars. `null` when the cost is unknown. */
  readonly costUsd?: number | null
  /** Milliseconds. */
  readonly executionTime?: number
  readonly error?: { readonly code: string; readonly message: string }
}

/** The value of the answer, where the step that wrote it has an `outputSchema`. */
export type AnswerValue = { readonly stepId: string; readonly value: unknown }

/** A file that a model made, where no address for it is known. */
export type MadeFile = { readonly fileId: string; readonly name: string; readonly mediaType: string }

/** Data parts of a message by their names: `data-flow`, `data-step`, `data-answer`, `data-file`. */
export type FlowDataParts = {
  flow: FlowState
  step: StepRunState
  answer: AnswerValue
  file: MadeFile
}

type DataChunk = {
  [Name in keyof FlowDataParts]: { type: `data-${Name}`; id: string; data: FlowDataParts[Name] }
}[keyof FlowDataParts]

/** Marks a part whose text is void, because its step began again. */
export type VoidMark = { polyphony: { void: true } }

/** One chunk of a UI message stream. */
export type FlowUIMessageChunk =
  | { type: 'start'; messageId: string; messageMetadata: FlowMessageMetadata }
  | { type: 'start-step' }
  | { type: 'finish-step' }
  | { type: 'text-start' | 'reasoning-start'; id: string }
  | { type: 'text-delta' | 'reasoning-delta'; id: string; delta: string }
  | { type: 'text-end' | 'reasoning-end'; id: string; providerMetadata?: VoidMark }
  | {
      type: 'tool-input-available'
      toolCallId: string
      toolName: string
      input: unknown
      providerExecuted: true
      dynamic: true
    }
  | { type: 'tool-output-available'; toolCallId: string; output: unknown; providerExecuted: true; dynamic: true }
  | { type: 'tool-output-error'; toolCallId: string; errorText: string; providerExecuted: true; dynamic: true }
  | { type: 'source-url'; sourceId: string; url: string; title?: string }
  | { type: 'source-document'; sourceId: string; mediaType: string; title: string }
  | { type: 'file'; url: string; mediaType: string }
  | DataChunk
  | { type: 'error'; errorText: string }
  | { type: 'abort'; reason?: string }
  | { type: 'finish'; finishReason: UIFinishReason; messageMetadata: FlowMessageMetadata }

/** Finish reasons of the AI SDK. */
export type UIFinishReason = 'stop' | 'length' | 'content-filter' | 'tool-calls' | 'error' | 'other'
