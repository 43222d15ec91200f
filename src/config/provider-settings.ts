import * as z from 'zod'
import { findHeaderProblem, findValueProblem } from './header-value.ts'

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
/** Asked before every request. May return a promise; what it returns is never logged. */
export type HeadersFunction = () => Readonly<Record<string, string>> | Promise<Readonly<Record<string, string>>>

const isFunction = (value: unknown): boolean => typeof value === 'function'

/** Refuses what no HTTP header can hold; the messages never hold a part of the value. */
const headerText = z.string().superRefine((value, context) => {
  const problem = findValueProblem(value)
  if (problem) context.addIssue({ code: 'custom', message: problem })
})
/** White space around a key comes from the file it was copied from. */
const keySchema = headerText.transform((key) => key.trim()).pipe(z.string().min(1))

const headersSchema = z
  .custom<Readonly<Record<string, string>> | HeadersFunction>(
    (value) => isFunction(value) || (typeof value === 'object' && value !== null && !Array.isArray(value)),
    'expected names and values, or a function that returns them',
  )
  .superRefine((headers, context) => {
    if (typeof headers === 'function') return
    for (const [name, value] of Object.entries<unknown>(headers)) {
      const problem = typeof value === 'string' ? findHeaderProblem(name, value) : 'expected text'
      if (problem) context.addIssue({ code: 'custom', message: problem, path: [name] })
    }
  })

/** Line breaks and tabs inside an address are dropped by parsers, so that two programs may read two addresses. */
const baseUrlSchema = z
  .string()
  .trim()
  .pipe(
    z
      .url({ protocol: /^https?$/ })
      .refine((url) => !/[\s\p{Cc}]/u.test(url), 'expected a URL without white space and control characters')
      .refine(
        (url) => !URL.canParse(url) || (new URL(url).username === '' && new URL(url).password === ''),
        'expected a URL without user and password: what it needs to let requests in belongs into apiKey or headers',
      ),
  )

const proxySchema = z
  .string()
  .trim()
  .pipe(z.url({ protocol: /^https?$/, error: 'expected an http:// or https:// address of a proxy' }))

/** One entry of `providers` in the configuration. The key is bound to the origin of `baseUrl` (or the vendor's own). */
export const providerSettingsSchema = z.strictObject({
  /** Default: the entry's own name, where that is a kind or a preset. */
  kind: z.enum(PROVIDER_KINDS).optional(),
  preset: z.enum(PRESETS).optional(),
  apiKey: keySchema.optional(),
  baseUrl: baseUrlSchema.optional(),
  /** OpenAI kind only: default `responses` against OpenAI's own origin, `chat` elsewhere. */
  api: z.enum(['responses', 'chat']).optional(),
  /** Extra request headers, e.g. an organisation id; or a function that is asked for them before every request, e.g. for tokens that expire. */
  headers: headersSchema.optional(),
  /** Sends the requests of this account instead of the built-in transport; with it, `proxy` and the variables of the environment say nothing. */
  fetch: z.custom<typeof fetch>(isFunction, 'expected a function such as fetch').optional(),
  /** http:// or https:// address of the proxy for this account, maybe with user and password. Default: what the environment says. */
  proxy: proxySchema.optional(),
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
