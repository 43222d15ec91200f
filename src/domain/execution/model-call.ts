import type { Usage } from './usage.ts'

export type JsonSchema = Readonly<Record<string, unknown>>

export type FinishReason = 'stop' | 'length' | 'tool_calls' | 'content_filter' | 'refusal' | 'other'

/** One message of the conversation that is sent to a model. */
export interface ModelMessage {
  readonly role: 'user' | 'assistant'
  readonly content: string
}

export interface ModelSettings {
  readonly temperature?: number
  /** Maximum output tokens. */
  readonly maxTokens?: number
  readonly topP?: number
  readonly stopSequences?: readonly string[]
}

/** The request of one attempt, independent of the vendor. */
export interface ModelRequest {
  readonly model: string
  readonly system?: string
  readonly messages: readonly ModelMessage[]
  readonly settings: ModelSettings
  /**
   * JSON Schema that the answer must fit. Adapters use native structured output where the vendor has it, else they omit
   * the schema and add a note.
   */
  readonly outputSchema?: JsonSchema
}

export interface ToolCall {
  readonly id?: string
  readonly name: string
  /** JSON text as the model wrote it. */
  readonly arguments: string
}

/**
 * The origin of a statement as the vendor names it: a citation in the text, an annotation of it, or a search result
 * that was read for it.
 */
export interface Source {
  readonly kind: 'citation' | 'annotation' | 'search_result'
  readonly url?: string
  readonly title?: string
  /** Quoted or summarised content, as the vendor sent it. */
  readonly text?: string
  /** Range of the answer text that the source supports, in UTF-16 units, where the vendor states it. */
  readonly startIndex?: number
  readonly endIndex?: number
}

/** The facts on which the price of an answer depends besides its tokens. */
export interface PricedAnswer extends Pick<ModelResponse, 'model' | 'serviceTier'> {
  /** The requested model: an alias, a deployment, or the same name. */
  readonly requestedModel: string
}

/** One complete answer, independent of the vendor. */
export interface ModelResponse {
  /** All text parts, joined; empty when the model answered without text. */
  readonly text: string
  readonly refusal?: string
  readonly reasoningText?: string
  readonly toolCalls?: readonly ToolCall[]
  /** Citations, annotations and search results, in the vendor's order. */
  readonly sources?: readonly Source[]
  readonly finishReason: FinishReason
  /** The model that answered, as the provider names it; the one to price. */
  readonly model: string
  readonly usage: Usage
  /** US dollars as the provider itself states them (OpenRouter, xAI). */
  readonly providerCostUsd?: number
  /**
   * Tier that processed the request, in the vendor's own word, e.g. `priority`, `flex`, `default`; tiers have prices of
   * their own.
   */
  readonly serviceTier?: string
  /** Human-readable notes on values that were mapped, dropped or unexpected. */
  readonly notes: readonly string[]
}
