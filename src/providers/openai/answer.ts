import type { FinishReason, ModelResponse, Source, ToolCall } from '../../domain/execution/model-call.ts'
import type { Usage } from '../../domain/execution/usage.ts'
import type { AttemptState } from '../vendor/vendor-error.ts'

/** What a request becomes on its way to the vendor. */
export interface OpenAiRequest {
  readonly path: string
  readonly body: Readonly<Record<string, unknown>>
  readonly notes: readonly string[]
}

/** What a reader reports besides the text it returns. */
export interface ReaderHooks {
  /** Called with every piece of reasoning. */
  readonly onReasoning?: (text: string) => void
  /** Called before the text that follows, where all text returned before turns out to be reasoning. */
  readonly onVoid?: () => void
}

/** Gathers one answer, whole or in pieces. */
export interface StreamedAnswer {
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
  toModelResponse(notes: readonly string[]): ModelResponse
}

export interface AnswerParts {
  readonly text: string
  readonly refusal: string
  readonly reasoningText: string
  readonly toolCalls: readonly ToolCall[]
  readonly sources: readonly Source[]
  readonly finishReason: FinishReason
  readonly model: string
  readonly usage: Usage
  readonly providerCostUsd: number | undefined
  readonly serviceTier: string | undefined
  readonly notes: readonly string[]
}

/** Refusals and tool calls come with `stop` or `completed`: the reason must be read with the parts. */
export function toModelResponse(deps: AnswerParts): ModelResponse {
  const { text, refusal, reasoningText, toolCalls, sources, providerCostUsd, serviceTier, notes } = deps
  const ended = deps.finishReason === 'stop'
  return {
    text,
    ...(refusal && { refusal }),
    ...(reasoningText && { reasoningText }),
    ...(toolCalls.length > 0 && { toolCalls }),
    ...(sources.length > 0 && { sources }),
    model: deps.model,
    finishReason: ended && refusal ? 'refusal' : ended && toolCalls.length > 0 ? 'tool_calls' : deps.finishReason,
    usage: deps.usage,
    ...(providerCostUsd !== undefined && { providerCostUsd }),
    ...(serviceTier !== undefined && { serviceTier }),
    notes,
  }
}

/** Kinds of content that answers hold and results do not, by the vendors' fields and types. */
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
  tool_calls: 'tool calls',
  function_call: 'tool calls',
  custom_tool_call: 'tool calls',
  mcp_call: 'results of hosted tools',
  code_interpreter_call: 'results of hosted tools',
  computer_call: 'results of hosted tools',
  executed_tools: 'results of hosted tools',
  related_questions: 'related questions',
  reference: 'references',
  candidates: 'further candidates',
}

/** Remembers what of an answer is left out, for one note. */
export interface DroppedParts {
  /** Notes the parts that `holder` has under the given names; those that are empty do not count. */
  see(holder: Readonly<Record<string, unknown>>, names: readonly string[]): void
  add(kind: string): void
  notes(): readonly string[]
}

export function createDroppedParts(): DroppedParts {
  let kinds: Set<string> | undefined
  const add = (kind: string) => {
    const known = DROPPED_KINDS[kind]
    if (known) kinds = (kinds ?? new Set()).add(known)
  }
  return {
    add,
    see(holder, names) {
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
