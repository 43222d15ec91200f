import * as z from 'zod'

const positive = z.number().int().positive()

/** What every service states that answers steps. */
const shared = {
  /** Path of the API below the endpoint of the service, such as `/v1`. */
  path: z
    .string()
    .regex(/^\/[^?#\s]*$/, 'expected a path that begins with "/", without query and white space')
    .optional(),
  /** Concurrent requests. Default: no limit. */
  maxConcurrency: positive.optional(),
  /** Requests per minute. Default: no limit. */
  requestsPerMinute: z.number().positive().optional(),
  /**
   * Whether what the service receives stays with the operator: it may then see every text, recorded as `in_house`.
   * Default false: users decide about it as about every provider.
   */
  inHouse: z.boolean().default(false),
  /** `free`: its answers cost nothing. Default: free if `inHouse`, otherwise the prices of the configuration. */
  price: z.literal('free').optional(),
}

/** Wire formats of models that a service may speak. */
export const SERVICE_MODEL_KINDS = ['openai-compatible', 'openai', 'anthropic', 'google'] as const

/** How a service answers steps: as a server of models, or with operations over HTTP. */
export const serviceProviderSchema = z.discriminatedUnion('kind', [
  z.strictObject({
    kind: z.enum(SERVICE_MODEL_KINDS),
    /** Models that the service has; others are refused. Default: every model is passed on. */
    models: z.array(z.string().min(1).max(200)).min(1).max(1_000).optional(),
    /** API to use, for kind `openai` only. */
    api: z.enum(['responses', 'chat']).optional(),
    ...shared,
  }),
  z.strictObject({
    kind: z.literal('http'),
    /** Operations by name, as those of providers of kind `http`. */
    operations: z.record(z.string(), z.record(z.string(), z.unknown())),
    ...shared,
  }),
])

/** The provider that stands for a service; it has the id of the service. */
export type ServiceProviderSettings = z.output<typeof serviceProviderSchema>
