import * as z from 'zod'

export const PROVIDER_KINDS = ['openai', 'anthropic', 'google', 'openai-compatible'] as const
/** Which adapter speaks to an account. */
export type ProviderKind = (typeof PROVIDER_KINDS)[number]

export const PRESETS = [
  'ollama',
  'lmstudio',
  'vllm',
  'groq',
  'xai',
  'mistral',
  'deepseek',
  'openrouter',
  'together',
  'azure',
] as const

/** What a request field is called at a deployment; false: it takes none, and the setting is left out with a note. */
const fieldName = z.union([z.string().min(1), z.literal(false)]).optional()
const fieldNames = { maxTokens: fieldName, temperature: fieldName, topP: fieldName, stopSequences: fieldName }
const fieldNamesSchema = z.strictObject(fieldNames)
/** Field names of a deployment, by the settings that steps use. */
export type FieldNames = z.output<typeof fieldNamesSchema>

/** One entry of `providers` in the configuration. The key is bound to the origin of `baseUrl` (or the vendor's own). */
export const providerSettingsSchema = z.strictObject({
  /** Default: the entry's own name, where that is a kind or a preset. */
  kind: z.enum(PROVIDER_KINDS).optional(),
  preset: z.enum(PRESETS).optional(),
  apiKey: z.string().min(1).optional(),
  baseUrl: z.url({ protocol: /^https?$/ }).optional(),
  /** OpenAI kind only: default `responses` against OpenAI's own origin, `chat` elsewhere. */
  api: z.enum(['responses', 'chat']).optional(),
  /** Extra request headers, e.g. an organisation id. */
  headers: z.record(z.string(), z.string()).optional(),
  /** Azure only. */
  apiVersion: z.string().optional(),
  /**
   * Which fields the account's deployments take: `{ maxTokens: 'max_completion_tokens', temperature: false }`, for all of them, and under
   * `models` for one by its name. For the kinds `openai` and `openai-compatible`.
   */
  parameters: z.strictObject({ ...fieldNames, models: z.record(z.string(), fieldNamesSchema).optional() }).optional(),
  /** False: streams are not asked for their usage, for servers that refuse `stream_options`; their cost is then unknown. */
  streamUsage: z.boolean().optional(),
  /** Requests under way at once. */
  maxConcurrency: z.number().int().positive().optional(),
  requestsPerMinute: z.number().positive().optional(),
  tokensPerMinute: z.number().positive().optional(),
  /** False: flows that need it do not start (PROVIDER_INACTIVE). */
  active: z.boolean().default(true),
})

export type ProviderSettings = z.output<typeof providerSettingsSchema>
export type ProviderSettingsInput = z.input<typeof providerSettingsSchema>
