import type {
  FinishReason,
  GeneratedFile,
  ModelResponse,
  Source,
  ToolCall,
  VendorTurn,
} from '../../domain/execution/model-call.ts'
import type { Usage } from '../../domain/execution/usage.ts'
import type { AttemptState } from '../vendor/vendor-error.ts'

/** A request in the format of the vendor. */
export interface OpenAiRequest {
  readonly path: string
  readonly body: Readonly<Record<string, unknown>>
  readonly notes: readonly string[]
}

/** Callbacks of a reader for everything but the text it returns. */
export interface ReaderHooks {
  /** Called with every chunk of reasoning. */
  readonly onReasoning?: (text: string) => void
  /** Called before more text is returned, when all text returned so far turns out to be reasoning. */
  readonly onVoid?: () => void
}

/** Collects one answer, plain or streamed. */
export interface StreamedAnswer {
  /** Reads an answer that is not streamed and returns its text. Throws the vendor's error, or PROVIDER_BAD_REPLY. */
  readWhole(reply: unknown): string
  /** Reads one event of a stream and returns its text. Throws the vendor's error. */
  readEvent(event: unknown): string
  /** Returns text that was held back, because later text could have changed its meaning. Called once, at the end. */
  endText(): string
  /** Whether the vendor reported the end of the answer. */
  isFinished(): boolean
  /** Whether later events cannot belong to the answer, so that the rest of the stream need not be read. */
  isClosed(): boolean
  /** Facts of the attempt so far, for an error. */
  state(): AttemptState
  toModelResponse(notes: readonly string[]): ModelResponse
}

export interface CollectedAnswer {
  readonly text: string
  readonly refusal: string
  readonly reasoningText: string
  readonly toolCalls: readonly ToolCall[]
  readonly vendorTurn?: VendorTurn
  readonly sources: readonly Source[]
  readonly files: readonly GeneratedFile[]
  readonly finishReason: FinishReason
  readonly model: string
  readonly usage: Usage
  readonly providerCostUsd: number | undefined
  readonly serviceTier: string | undefined
  readonly notes: readonly string[]
}

/** Refusals and tool calls end with `stop` or `completed`, so the finish reason depends on the content. */
export function toModelResponse(answer: CollectedAnswer): ModelResponse {
  const { text, refusal, reasoningText, toolCalls, vendorTurn, sources, files, providerCostUsd, serviceTier, notes } = answer
  const ended = answer.finishReason === 'stop'
  // Set field by field: conditional spreads take as long as the rest of reading an answer.
  const response: { -readonly [Field in keyof ModelResponse]: ModelResponse[Field] } = {
    text,
    model: answer.model,
    finishReason: ended && refusal ? 'refusal' : ended && toolCalls.length > 0 ? 'tool_calls' : answer.finishReason,
    usage: answer.usage,
    notes,
  }
  if (refusal) response.refusal = refusal
  if (reasoningText) response.reasoningText = reasoningText
  if (toolCalls.length > 0) response.toolCalls = toolCalls
  if (vendorTurn) response.vendorTurn = vendorTurn
  if (sources.length > 0) response.sources = sources
  if (files.length > 0) response.files = files
  if (providerCostUsd !== undefined) response.providerCostUsd = providerCostUsd
  if (serviceTier !== undefined) response.serviceTier = serviceTier
  return response
}

/** Kinds of content that results leave out, by the vendors' fields and types. */
const DROPPED_KINDS: Readonly<Record<string, string>> = {
  audio: 'audio',
  output_audio: 'audio',
  input_audio: 'audio',
  images: 'images',
  image: 'images',
  image_url: 'images',
  output_image: 'images',
  image_generation_call: 'images',
  logprobs: 'log probabilities',
  content_filter_results: 'content filter results',
  content_filter_result: 'content filter results',
  prompt_filter_results: 'content filter results',
  content_filters: 'content filter results',
  signature: 'reasoning signatures',
  reasoning_signature: 'reasoning signatures',
  encrypted_content: 'encrypted reasoning',
  'reasoning.encrypted': 'encrypted reasoning',
  mcp_call: 'results of hosted tools',
  code_interpreter_call: 'results of hosted tools',
  computer_call: 'results of hosted tools',
  executed_tools: 'results of hosted tools',
  related_questions: 'related questions',
  reference: 'references',
  candidates: 'further candidates',
}

/** Collects the kinds of content left out of one answer, for one note. */
export interface DroppedKinds {
  /** Adds the non-empty fields of `holder` with the given names. */
  addFields(holder: Readonly<Record<string, unknown>>, names: readonly string[]): void
  add(kind: string): void
  notes(): readonly string[]
}

export function createDroppedKinds(): DroppedKinds {
  let kinds: Set<string> | undefined
  const add = (kind: string) => {
    const known = DROPPED_KINDS[kind]
    if (known) kinds = (kinds ?? new Set()).add(known)
  }
  return {
    add,
    addFields(holder, names) {
      for (const name of names) {
        const value = holder[name]
        if (value !== undefined && value !== null && !isEmpty(value)) add(name)
      }
    },
    notes: () => (kinds ? [`left out of the answer: ${[...kinds].join(', ')}`] : []),
  }
}

const isEmpty = (value: unknown): boolean =>
  value === '' || value === false || (typeof value === 'object' && value !== null && Object.keys(value).length === 0)
