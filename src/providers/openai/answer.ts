import type { FinishReason, ModelResponse, ToolCall } from '../../domain/model-call.ts'
import type { Usage } from '../../domain/usage.ts'
import type { AttemptState } from '../vendor-error.ts'

/** What a request becomes on its way to the vendor. */
export interface OutgoingRequest {
  readonly path: string
  readonly body: Readonly<Record<string, unknown>>
  readonly notes: readonly string[]
}

/** Gathers one answer, whole or in pieces. */
export interface AnswerReader {
  /** Takes a whole answer; returns its text. Throws the vendor's error, or PROVIDER_BAD_REPLY. */
  readWhole(reply: unknown): string
  /** Takes one event of a stream; returns the answer text that came with it. Throws the vendor's error. */
  readEvent(event: unknown): string
  /** Answer text that was held back, because what follows could have changed its meaning. Called once, at the end. */
  endText(): string
  /** The vendor said that the answer is complete. */
  isFinished(): boolean
  /** Nothing more of the answer follows, so waiting for the end of the stream is needless. */
  isClosed(): boolean
  /** What is known so far, for an error. */
  state(): AttemptState
  toResponse(notes: readonly string[]): ModelResponse
}

export interface AnswerParts {
  readonly text: string
  readonly refusal: string
  readonly reasoningText: string
  readonly toolCalls: readonly ToolCall[]
  readonly finishReason: FinishReason
  readonly model: string
  readonly usage: Usage
  readonly providerCostUsd: number | undefined
  readonly notes: readonly string[]
}

/** Refusals and tool calls come with `stop` or `completed`: the reason must be read with the parts. */
export function toResponse({ text, refusal, reasoningText, toolCalls, providerCostUsd, ...rest }: AnswerParts): ModelResponse {
  const ended = rest.finishReason === 'stop'
  return {
    text,
    ...(refusal && { refusal }),
    ...(reasoningText && { reasoningText }),
    ...(toolCalls.length > 0 && { toolCalls }),
    model: rest.model,
    finishReason: ended && refusal ? 'refusal' : ended && toolCalls.length > 0 ? 'tool_calls' : rest.finishReason,
    usage: rest.usage,
    ...(providerCostUsd !== undefined && { providerCostUsd }),
    notes: rest.notes,
  }
}
