/** How one service differs from OpenAI's own Chat Completions. */
export interface ChatDialect {
  /** Name of the output bound; `by-model`: `max_completion_tokens` for reasoning models, else `max_tokens`. */
  readonly maxTokensField: 'max_tokens' | 'max_completion_tokens' | 'by-model'
  /** How an answer can be bound to a JSON Schema; a pattern names the models that know `json_schema`, others get `json_object`. */
  readonly structuredOutput: 'json_schema' | 'json_object' | 'none' | RegExp
  /** Whether `stream_options.include_usage` may be sent; Mistral refuses it, and sends usage without being asked. */
  readonly asksForStreamUsage: boolean
  /** Stop sequences that are accepted at most. */
  readonly maxStopSequences: number
  /** Open models write their reasoning into the answer, between think tags. */
  readonly thinkTags: boolean
  /** Fields added to every request, e.g. OpenRouter's wish for costs. */
  readonly extraBody?: Readonly<Record<string, unknown>>
}

export const OPENAI_DIALECT: ChatDialect = {
  maxTokensField: 'max_completion_tokens',
  structuredOutput: 'json_schema',
  asksForStreamUsage: true,
  maxStopSequences: 4,
  thinkTags: false,
}

/** A service that nothing is known of: only what every server of the protocol accepts. */
export const UNKNOWN_DIALECT: ChatDialect = {
  maxTokensField: 'by-model',
  structuredOutput: 'none',
  asksForStreamUsage: true,
  maxStopSequences: 16,
  thinkTags: true,
}
