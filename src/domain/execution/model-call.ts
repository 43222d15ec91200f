import type { Usage } from './usage.ts'

export type JsonSchema = Readonly<Record<string, unknown>>

export type FinishReason = 'stop' | 'length' | 'tool_calls' | 'content_filter' | 'refusal' | 'other'

/** A file of a message. Requests carry it without its bytes, so that waiting flows hold no files in memory. */
export interface FilePart {
  /** File name for people, such as `invoice.pdf`. */
  readonly name: string
  /** Media type without parameters, such as `image/png` or `application/pdf`. */
  readonly mediaType: string
  readonly byteLength: number
  /** SHA-256 of the bytes in hexadecimal; absent only with `vendorFileId`. */
  readonly sha256?: string
  /** Id under which the vendor already holds the file; used only for the account it belongs to. */
  readonly vendorFileId?: string
  /** Reads the bytes; called once per attempt. Rejects with FILE_NOT_FOUND if they are no longer stored. */
  readonly read: () => Promise<Uint8Array>
}

/** Text and files of the user. */
export interface UserMessage {
  readonly role: 'user'
  readonly content: string
  readonly files?: readonly FilePart[]
  /**
   * Length in UTF-16 units of the beginning of `content` that other requests are likely to begin with as well; several
   * lengths, ascending, where some share less than others. Adapters whose vendor caches prompts up to a mark set the
   * marks there.
   */
  readonly stableLength?: number | readonly number[]
}

/**
 * The ends of the stable beginnings of a message within its text, ascending. They divide it into parts of which none is
 * white space only, because Anthropic rejects such a part.
 */
export function stableEndsOf(message: ModelMessage): readonly number[] {
  if (message.role !== 'user' || message.stableLength === undefined) return NO_ENDS
  const { content, stableLength } = message
  const ends: number[] = []
  for (const length of typeof stableLength === 'number' ? [stableLength] : stableLength) {
    const end = wholeCharacters(content, Math.min(length, content.length))
    if (hasText(content, ends.at(-1) ?? 0, end)) ends.push(end)
  }
  const last = ends.at(-1)
  if (last !== undefined && !hasText(content, last, content.length)) ends[ends.length - 1] = content.length
  return ends
}

const hasText = (content: string, start: number, end: number): boolean => content.slice(start, end).trim() !== ''

const NO_ENDS: readonly number[] = []

/** The end must not divide a character of two UTF-16 units. */
const wholeCharacters = (content: string, end: number): number =>
  end < content.length && /[\uD800-\uDBFF]/.test(content.charAt(end - 1)) ? end - 1 : end

/** What a model answered in an earlier turn. */
export interface AssistantMessage {
  readonly role: 'assistant'
  readonly content: string
  readonly toolCalls?: readonly ToolCall[]
  readonly vendorTurn?: VendorTurn
}

/** The result of one tool call of the assistant message before it. */
export interface ToolMessage {
  readonly role: 'tool'
  /** `id` of the tool call. */
  readonly toolCallId: string
  /** Name of the tool, as in `ModelRequest.tools`. */
  readonly toolName: string
  readonly content: string
  readonly isError?: boolean
  readonly files?: readonly FilePart[]
}

/** One message of the conversation that is sent to a model. The first and the last message are never the model's. */
export type ModelMessage = UserMessage | AssistantMessage | ToolMessage

/**
 * The blocks of an answer as its vendor sent them, with signed or encrypted reasoning that the vendor needs to continue
 * after tool results. Sent back only to the provider and model that wrote them; other targets get text and tool calls.
 */
export interface VendorTurn {
  /** Id of the provider that wrote it. */
  readonly provider: string
  /** The requested model. */
  readonly model: string
  /** JSON values in the vendor's own format. */
  readonly blocks: readonly unknown[]
}

/** A tool that a model may call. */
export interface ToolDefinition {
  /** Name for the model: at most 64 letters, digits, `_` and `-`. */
  readonly name: string
  readonly description?: string
  /** JSON Schema of an object. */
  readonly parameters: JsonSchema
}

/** Whether and which tools the model must call. */
export type ToolChoice = 'auto' | 'required' | 'none' | { readonly name: string }

export const REASONING_EFFORTS = ['none', 'minimal', 'low', 'medium', 'high', 'max'] as const
export type ReasoningEffort = (typeof REASONING_EFFORTS)[number]

export interface ModelSettings {
  readonly temperature?: number
  /** Maximum output tokens. */
  readonly maxTokens?: number
  readonly topP?: number
  readonly stopSequences?: readonly string[]
  /** Effort of reasoning, or its maximum in tokens, which count as output. */
  readonly reasoning?: ReasoningEffort | { readonly maxTokens: number }
  readonly seed?: number
  /** Whether the model may call several tools in one turn. */
  readonly parallelToolCalls?: boolean
  /** Caching of the prompt by the vendor. Default: `auto`, which caches where it pays. */
  readonly cache?: 'auto' | 'off' | { readonly ttl: '5m' | '1h' }
  /**
   * Further fields of the request body by provider id or kind of adapter, merged last. Fields that Polyphony sets
   * itself are refused.
   */
  readonly options?: Readonly<Record<string, Readonly<Record<string, unknown>>>>
}

/** Tokens that may be spent on reasoning beside those of the answer; 0 where the vendor decides within `maxTokens`. */
export const reasoningBudgetOf = ({ reasoning }: Pick<ModelSettings, 'reasoning'>): number =>
  typeof reasoning === 'object' ? reasoning.maxTokens : 0

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
  /** Tools that Polyphony runs when the model calls them. */
  readonly tools?: readonly ToolDefinition[]
  /** Tools that the vendor runs itself, such as `web_search`. */
  readonly hostedTools?: readonly string[]
  /**
   * Calls of hosted tools that the vendor may make, because a limit of costs reserves their fees. Adapters send it to
   * vendors that take such a bound.
   */
  readonly maxHostedCalls?: number
  readonly toolChoice?: ToolChoice
  /** Arguments of a function, an HTTP operation or an MCP tool, which answers in place of a model. */
  readonly arguments?: Readonly<Record<string, unknown>>
  /**
   * Whether the adapter must refuse the request with PROVIDER_REJECTED, before it is sent, where it would otherwise
   * leave something out with a note.
   */
  readonly strict?: boolean
  /** Text that requests with the same stable beginning share, by which a vendor may route them to one cache. */
  readonly cacheKey?: string
}

export interface ToolCall {
  /** Id of the call, by which its result is matched. Absent only where the vendor sends none. */
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

/** A file that a model or a tool made. */
export interface GeneratedFile {
  readonly name?: string
  readonly mediaType: string
  readonly data: Uint8Array
}

/** One complete answer, independent of the vendor. */
export interface ModelResponse {
  /** All text parts, joined; empty when the model answered without text. */
  readonly text: string
  readonly refusal?: string
  readonly reasoningText?: string
  readonly toolCalls?: readonly ToolCall[]
  /** The answer in the vendor's own form, if it must be sent back unchanged after tool results. */
  readonly vendorTurn?: VendorTurn
  /** Citations, annotations and search results, in the vendor's order. */
  readonly sources?: readonly Source[]
  /** Files that the model made, such as images. */
  readonly files?: readonly GeneratedFile[]
  /** Value of the answer where it is not text, such as the result of a function. `text` is its JSON then. */
  readonly value?: unknown
  /** Whether the vendor paused the answer, which continues when the conversation is sent again with `vendorTurn`. */
  readonly isPaused?: boolean
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
