import type { FieldNames, ProviderSettingsInput } from '../../config/provider-settings.ts'

/** How one service differs from OpenAI's own Chat Completions. */
export interface ChatDialect {
  /** Name of the output bound; `by-model`: `max_completion_tokens` for reasoning models, else `max_tokens`. */
  readonly maxTokensField: 'max_tokens' | 'max_completion_tokens' | 'by-model'
  /** How an answer can be bound to a JSON Schema; a pattern names the models that know `json_schema`, others get `json_object`, which binds it to objects. */
  readonly structuredOutput: 'json_schema' | 'json_object' | 'none' | RegExp
  /** Whether `stream_options.include_usage` may be sent; Mistral refuses it, and sends usage without being asked. */
  readonly asksForStreamUsage: boolean
  /** Stop sequences that are accepted at most. */
  readonly maxStopSequences: number
  /** Open models write their reasoning into the answer, between think tags. */
  readonly thinkTags: boolean
  /** What the account's deployments call their fields, by model; undefined where nothing is said. */
  readonly fieldNamesOf?: (model: string) => FieldNames | undefined
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

/** The dialect with what the account's own settings say of its server. */
export function withAccount(dialect: ChatDialect, { parameters, streamUsage }: AccountWords): ChatDialect {
  if (!parameters && streamUsage === undefined) return dialect
  const { models = {}, ...ofAll } = parameters ?? {}
  const byModel = new Map(Object.entries(models).map(([model, names]) => [model, { ...ofAll, ...names }]))
  return {
    ...dialect,
    asksForStreamUsage: streamUsage ?? dialect.asksForStreamUsage,
    ...(parameters && { fieldNamesOf: (model: string) => byModel.get(model) ?? ofAll }),
  }
}

type AccountWords = Pick<ProviderSettingsInput, 'parameters' | 'streamUsage'>
