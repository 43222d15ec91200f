import type { FieldNames, ProviderSettingsInput } from '../../config/provider-settings.ts'
import type { ReasoningEffort } from '../../domain/execution/model-call.ts'
import type { ForeignRecord } from '../vendor/foreign-json.ts'

/** Kinds of files that a service reads in Chat Completions. Text files are sent as text everywhere. */
export type ChatFileKind = 'image' | 'pdf' | 'audio'

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
  /** Whether the service rejects a schema of the answer beside tools. */
  readonly schemaExcludesTools?: boolean
  /** Whether to send `stream_options.include_usage`. Mistral rejects it, and sends usage anyway. */
  readonly asksForStreamUsage: boolean
  /** Maximum number of stop sequences. */
  readonly maxStopSequences: number
  /** Whether models may write their reasoning into the answer, between think tags. */
  readonly thinkTags: boolean
  /** Configured field names of a model. Undefined if none are configured. */
  readonly fieldNamesOf?: (model: string) => FieldNames | undefined
  /** Fields added to every request, such as OpenRouter's `usage`, which requests costs. */
  readonly extraBody?: ForeignRecord
  /** Field name for the seed; default `seed`. */
  readonly seedField?: string
  /** Efforts of reasoning that the service takes for a model of which nothing else is known. */
  readonly efforts?: readonly string[] | ((model: string) => readonly string[] | undefined)
  /** Fields that ask for an effort, where they are not `reasoning_effort`. */
  readonly toEffortFields?: (effort: string) => ForeignRecord
  /** Fields that turn reasoning off, where `none` is no effort. */
  readonly withoutReasoning?: ForeignRecord
  /** Fields that bound reasoning in tokens. Absent: the service only has efforts. */
  readonly toBudgetFields?: (maxTokens: number, model: string) => ForeignRecord | undefined
  /**
   * How the reasoning of a turn with tool calls goes back with the results: in the fields in which it came, as parts of
   * the content (Mistral), or not at all. Default `fields`.
   */
  readonly returnsReasoning?: 'fields' | 'parts' | 'never'
  /** Whether strict schemas of tools are enforced. */
  readonly strictTools?: boolean
  /** Word for a tool choice that forces any tool; default `required`. */
  readonly anyTool?: string
  /** Whether ids of tool calls must be nine letters or digits (Mistral). */
  readonly shortToolCallIds?: boolean
  /** Whether requests may have a `prompt_cache_key`, with `prompt_cache_retention`. */
  readonly cacheKeys?: boolean
  /** Whether a model caches up to a `cache_control` in the content (models of Anthropic at OpenRouter). */
  readonly cacheMarks?: (model: string) => boolean
  readonly files: readonly ChatFileKind[]
  /** Whether PDFs may be named by the id under which the service holds them. */
  readonly fileIds?: boolean
  /** Whether PDFs are parts of the type `document_url` (Mistral) instead of `file`. */
  readonly documentUrls?: boolean
  /** Fields by which the service runs a tool of its own with a model. Undefined if it has no such tool. */
  readonly toHostedToolFields?: (name: string, model: string) => ForeignRecord | undefined
  /** The hosted tools of the service, with their conditions, for the error about another one. */
  readonly hostedTools?: readonly string[]
}

/** Search models of OpenAI search the web before every answer. */
const isSearchModel = (model: string): boolean => /-search(-preview|-api)/.test(model)

export const OPENAI_DIALECT: ChatDialect = {
  maxTokensField: 'max_completion_tokens',
  structuredOutput: 'json_schema',
  asksForStreamUsage: true,
  maxStopSequences: 4,
  thinkTags: false,
  strictTools: true,
  cacheKeys: true,
  files: ['image', 'pdf', 'audio'],
  fileIds: true,
  toHostedToolFields: (name, model) => (name === 'web_search' && isSearchModel(model) ? { web_search_options: {} } : undefined),
  hostedTools: ['web_search (with a search model; every model has it with `api: responses`)'],
}

/** Efforts that servers of open models take. */
const OPEN_EFFORTS = ['low', 'medium', 'high'] as const

/** For unknown services: only features that every server of the protocol accepts. */
export const UNKNOWN_DIALECT: ChatDialect = {
  maxTokensField: 'by-model',
  structuredOutput: 'none',
  asksForStreamUsage: true,
  maxStopSequences: 16,
  thinkTags: true,
  efforts: ['none', ...OPEN_EFFORTS],
  files: ['image'],
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

/** Fields of OpenRouter, which maps them to the fields of each service behind it (openrouter.ai/docs, 2026-11). */
export const OPENROUTER_REASONING: Partial<ChatDialect> = {
  efforts: ['none', 'minimal', 'low', 'medium', 'high', 'xhigh'],
  toEffortFields: (effort) => ({ reasoning: { effort } }),
  toBudgetFields: (maxTokens) => ({ reasoning: { max_tokens: maxTokens } }),
}

/** DeepSeek maps every word itself, but has a switch of its own for no reasoning (api-docs.deepseek.com, 2026-11). */
export const DEEPSEEK_REASONING: Partial<ChatDialect> = {
  efforts: ['minimal', 'low', 'medium', 'high', 'max'] satisfies readonly ReasoningEffort[],
  withoutReasoning: { thinking: { type: 'disabled' } },
}

/** Groq takes efforts for gpt-oss and a switch for Qwen; other models reject the field (console.groq.com, 2026-11). */
export const GROQ_REASONING: Partial<ChatDialect> = {
  efforts: (model) => (/gpt-oss/.test(model) ? OPEN_EFFORTS : /qwen/.test(model) ? ['none', 'default'] : []),
}

/** Mistral's general models reason on demand; Magistral always reasons (docs.mistral.ai, 2026-11). */
export const MISTRAL_REASONING: Partial<ChatDialect> = {
  efforts: (model) => (/magistral/.test(model) ? [] : ['none', 'high']),
  returnsReasoning: 'parts',
}

/** vLLM passes a switch to the chat template, as Qwen and others read it (docs.vllm.ai, 2026-11). */
export const VLLM_REASONING: Partial<ChatDialect> = {
  efforts: OPEN_EFFORTS,
  withoutReasoning: { chat_template_kwargs: { enable_thinking: false } },
}

/** Vertex AI's endpoint for OpenAI clients takes budgets of Gemini in an extension. */
export const VERTEX_REASONING: Partial<ChatDialect> = {
  toBudgetFields: (maxTokens, model) =>
    /gemini-(?!3)/.test(model) ? { extra_body: { google: { thinking_config: { thinking_budget: maxTokens } } } } : undefined,
}
