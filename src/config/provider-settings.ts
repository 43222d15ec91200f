import * as z from 'zod'
import { requestOptionsField } from '../domain/definition/call/request-options.ts'
import { findHeaderProblem, findValueProblem } from './header-value.ts'

export const PROVIDER_KINDS = ['openai', 'anthropic', 'google', 'openai-compatible'] as const
/** The adapter that sends the requests of an account. */
export type ProviderKind = (typeof PROVIDER_KINDS)[number]

/** Services whose address and adapter are known. */
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
  'bedrock',
  'vertex',
  'litellm',
  'helicone',
] as const

/**
 * Name of a request field at a deployment. `false`: the deployment has no such field; the setting is omitted with a
 * note.
 */
const fieldName = z.union([z.string().min(1), z.literal(false)]).optional()
const fieldNames = {
  maxTokens: fieldName,
  temperature: fieldName,
  topP: fieldName,
  stopSequences: fieldName,
  reasoning: fieldName,
  seed: fieldName,
  parallelToolCalls: fieldName,
  cache: fieldName,
}
const fieldNamesSchema = z.strictObject(fieldNames)
/** Names of request fields at a deployment, by the settings of steps. */
export type FieldNames = z.output<typeof fieldNamesSchema>
/** Called before every request; returns headers or a promise of them. The headers are never logged. */
export type HeadersFunction = () => Readonly<Record<string, string>> | Promise<Readonly<Record<string, string>>>

const isFunction = (value: unknown): boolean => typeof value === 'function'

/** Text that an HTTP header can contain. Messages never contain any part of the value. */
const headerText = z.string().superRefine((value, context) => {
  const problem = findValueProblem(value)
  if (problem) context.addIssue({ code: 'custom', message: problem })
})
/** Trims the key: white space around it comes from copying. */
const keySchema = headerText.transform((key) => key.trim()).pipe(z.string().min(1))

export const headersSchema = z
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

/** URL parsers drop line breaks and tabs, so two programs could read two different addresses. */
export const baseUrlSchema = z
  .string()
  .trim()
  .refine((url) => !/[\s\p{Cc}]/u.test(url), 'expected a URL without white space and control characters')
  .refine(
    (url) => !URL.canParse(url) || (new URL(url).username === '' && new URL(url).password === ''),
    'expected a URL without user and password: put credentials into apiKey or headers',
  )
  .pipe(z.url({ protocol: /^https?$/ }))

export const proxySchema = z
  .string()
  .trim()
  .pipe(z.url({ protocol: /^https?$/, error: 'expected an http:// or https:// address of a proxy' }))

/** One account under `providers`. Its key is sent only to the origin of `baseUrl`, or to the vendor's own. */
export const providerSettingsSchema = z.strictObject({
  /** Adapter of the account. Default: the account's id if it is a kind, `openai-compatible` for a preset. */
  kind: z.enum(PROVIDER_KINDS).optional(),
  /** Service whose address and adapter are used. Default: the account's id if it is a preset. */
  preset: z.enum(PRESETS).optional(),
  /** API key. Default: the variable of the environment for this account, if there is one. */
  apiKey: keySchema.optional(),
  /**
   * Several keys in place of `apiKey`, each with rates of its own. Calls are spread over them; a key that fails is left
   * out for a while.
   */
  apiKeys: z
    .array(keySchema)
    .min(1)
    .max(100)
    .refine((keys) => new Set(keys).size === keys.length, 'expected every key once')
    .optional(),
  /** http:// or https:// address of the service. Default: that of the vendor or preset. */
  baseUrl: baseUrlSchema.optional(),
  /** API to use, for kind `openai` only. Default: `responses` for OpenAI's own origin, `chat` elsewhere. */
  api: z.enum(['responses', 'chat']).optional(),
  /**
   * Additional request headers, such as an organisation id, or a function called before every request, for expiring
   * tokens.
   */
  headers: headersSchema.optional(),
  /** Sends the requests of this account. With it, `proxy` and the proxy variables of the environment are ignored. */
  fetch: z.custom<typeof fetch>(isFunction, 'expected a function such as fetch').optional(),
  /**
   * http:// or https:// address of a proxy, with user and password if needed. Default: the proxy variables of the
   * environment.
   */
  proxy: proxySchema.optional(),
  /** Version of the API, for preset `azure` only. */
  apiVersion: z.string().optional(),
  /**
   * Request fields of the account's deployments, such as `{ maxTokens: 'max_completion_tokens', temperature: false }`,
   * for all deployments and, under `models`, for single ones by name. For the kinds `openai` and `openai-compatible`.
   */
  parameters: z.strictObject({ ...fieldNames, models: z.record(z.string(), fieldNamesSchema).optional() }).optional(),
  /** Whether streams request their usage. Default: as the service supports it. False: streams have unknown cost. */
  streamUsage: z.boolean().optional(),
  /**
   * Further fields of the body of every request, such as `{ service_tier: 'flex' }`, below the step's own options.
   * Fields that Polyphony sets itself are refused.
   */
  options: requestOptionsField.optional(),
  /** Concurrent requests of the account, per key. Default: no limit. */
  maxConcurrency: z.number().int().positive().optional(),
  /** Requests per minute of the account, per key. Default: no limit. */
  requestsPerMinute: z.number().positive().optional(),
  /** Tokens per minute of the account, per key. Default: no limit. */
  tokensPerMinute: z.number().positive().optional(),
  /** Whether the account may be used; default true. False: flows that need it do not start (PROVIDER_INACTIVE). */
  active: z.boolean().default(true),
})

export type ProviderSettings = z.output<typeof providerSettingsSchema>
export type ProviderSettingsInput = z.input<typeof providerSettingsSchema>
