import type { FieldNames, ProviderSettingsInput } from '../../config/provider-settings.ts'

/** How one service differs from OpenAI's Chat Completions. */
export interface ChatDialect {
  /**
   * Field name for the limit of output tokens. `by-model`: `max_completion_tokens` for reasoning models, otherwise
   * `max_tokens`.
   */
  readonly maxTokensField: 'max_tokens' | 'max_completion_tokens' | 'by-model'
  /**
   * How the service enforces a JSON Schema. A pattern matches the models that support `json_schema`; others get
   * `json_object`, which only enforces an object.
   */
  readonly structuredOutput: 'json_schema' | 'json_object' | 'none' | RegExp
  /** Whether to send `stream_options.include_usage`. Mistral rejects it, and sends usage anyway. */
  readonly asksForStreamUsage: boolean
  /** Maximum number of stop sequences. */
  readonly maxStopSequences: number
  /** Whether models may write their reasoning into the answer, between think tags. */
  readonly thinkTags: boolean
  /** Configured field names of a model. Undefined if none are configured. */
  readonly fieldNamesOf?: (model: string) => FieldNames | undefined
  /** Fields added to every request, such as OpenRouter's `usage`, which requests costs. */
  readonly extraBody?: Readonly<Record<string, unknown>>
}

export const OPENAI_DIALECT: ChatDialect = {
  maxTokensField: 'max_completion_tokens',
  structuredOutput: 'json_schema',
  asksForStreamUsage: true,
  maxStopSequences: 4,
  thinkTags: false,
}

/** For unknown services: only features that every server of the protocol accepts. */
export const UNKNOWN_DIALECT: ChatDialect = {
  maxTokensField: 'by-model',
  structuredOutput: 'none',
  asksForStreamUsage: true,
  maxStopSequences: 16,
  thinkTags: true,
}

/** The dialect, changed by the settings of the account. */
export function withAccount(dialect: ChatDialect, { parameters, streamUsage }: DialectSettings): ChatDialect {
  if (!parameters && streamUsage === undefined) return dialect
  const { models = {}, ...ofAll } = parameters ?? {}
  const byModel = new Map(Object.entries(models).map(([model, names]) => [model, { ...ofAll, ...names }]))
  return {
    ...dialect,
    asksForStreamUsage: streamUsage ?? dialect.asksForStreamUsage,
    ...(parameters && { fieldNamesOf: (model: string) => byModel.get(model) ?? ofAll }),
  }
}

type DialectSettings = Pick<ProviderSettingsInput, 'parameters' | 'streamUsage'>
