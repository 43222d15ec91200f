import * as z from 'zod'
import { flowLimitsSchema, stepSettingsSchema } from '../domain/definition/flow-definition.ts'
import type { ModelRequest, ModelResponse } from '../domain/execution/model-call.ts'
import type { ThreadRight } from '../domain/users/thread.ts'
import { type ProviderSettings, type ProviderSettingsInput, providerSettingsSchema } from './provider-settings.ts'
import { serverSettingsSchema, telemetrySettingsSchema } from './server-settings.ts'

export const LOG_LEVELS = ['silent', 'error', 'warn', 'info', 'debug'] as const
export type LogLevel = (typeof LOG_LEVELS)[number]

/** Where log lines go. Never receives prompts, answers or keys. */
export interface Logger {
  error(message: string, facts?: Readonly<Record<string, unknown>>): void
  warn(message: string, facts?: Readonly<Record<string, unknown>>): void
  info(message: string, facts?: Readonly<Record<string, unknown>>): void
  debug(message: string, facts?: Readonly<Record<string, unknown>>): void
}

/** A ready provider, given instead of settings. Same shape as the provider door; this room does not know that one. */
export interface PluggedProvider {
  readonly id: string
  readonly kind: string
  readonly vendor: string
  readonly simulated: boolean
  generate(
    request: ModelRequest,
    options: {
      readonly signal: AbortSignal
      readonly onDelta?: (text: string) => void
      readonly onReasoning?: (text: string) => void
      readonly onActivity?: () => void
    },
  ): Promise<ModelResponse>
  ping?(signal: AbortSignal): Promise<void>
}

/** A backend's own permissions. Same shape as the policy door. */
export interface PluggedPermissions {
  can(userId: string, threadId: string, right: ThreadRight): Promise<boolean>
  rightsOf(userId: string, threadId: string): Promise<ReadonlySet<ThreadRight>>
  grant(threadId: string, byUserId: string, toUserId: string, rights: readonly ThreadRight[]): Promise<void>
  revoke(threadId: string, byUserId: string, fromUserId: string, rights?: readonly ThreadRight[]): Promise<void>
  list(
    threadId: string,
    byUserId: string,
  ): Promise<readonly { readonly userId: string; readonly rights: readonly ThreadRight[] }[]>
  threadCreated(threadId: string, userId: string): Promise<void>
  threadDeleted?(threadId: string): void
}

const milliseconds = z.number().int().nonnegative()
const positiveMilliseconds = z.number().int().positive()
const usdPerMillion = z.number().nonnegative()

/** US dollars per million tokens. */
const priceSchema = z.strictObject({
  inputPerMillion: usdPerMillion,
  outputPerMillion: usdPerMillion,
  /** Default: as input. */
  cachedInputPerMillion: usdPerMillion.optional(),
  /** Default: as input. */
  cacheWritePerMillion: usdPerMillion.optional(),
})
export type ConfiguredPrice = z.output<typeof priceSchema>

/** A named preset that steps refer to with `agent`. */
const agentSchema = z.strictObject({
  system: z.string().max(200_000).optional(),
  provider: z.string().min(1).optional(),
  model: z.string().min(1).optional(),
  settings: stepSettingsSchema.optional(),
})
export type AgentSettings = z.output<typeof agentSchema>

const hasMethods = (value: unknown, ...names: readonly string[]): boolean =>
  typeof value === 'object' && value !== null && names.every((name) => typeof Reflect.get(value, name) === 'function')

const isDatabase = (value: unknown): boolean =>
  typeof value === 'string'
    ? /^(pglite:\/\/.+|memory:\/\/(\?flows=[1-9]\d*)?|postgres(ql)?:\/\/.+)$/s.test(value)
    : hasMethods(value, 'query', 'transaction')

export const isPluggedProvider = (value: unknown): value is PluggedProvider => hasMethods(value, 'generate')

/** An initialized DataSource of TypeORM, as far as it is used: naming its own type would load that of all of TypeORM. */
export interface PluggedDataSource {
  readonly isInitialized: boolean
  readonly driver: { readonly options: { readonly type: string } }
  query(statement: string, parameters?: never): Promise<unknown>
  transaction(work: never): Promise<unknown>
}

/** Everything that can be configured, after all sources were laid over one another. Ready providers are checked apart. */
export const configSchema = z.strictObject({
  database: z
    .custom<string | PluggedDataSource>(
      isDatabase,
      'expected pglite://<directory>, pglite://memory, postgres://…, memory:// or an initialized TypeORM DataSource',
    )
    .default('pglite://.polyphony/data'),
  providers: z.record(z.string().min(1), providerSettingsSchema).default({}),
  /** Every provider is answered by the bundled simulator; results are labelled. */
  simulator: z.boolean().default(false),
  engine: z.enum(['local', 'bullmq']).default('local'),
  redisUrl: z.url({ protocol: /^rediss?$/, error: 'expected a redis:// or rediss:// URL' }).optional(),
  /** By `provider/model`; wins over the bundled price list. */
  prices: z.record(z.string().min(1), priceSchema).default({}),
  permissions: z
    .custom<PluggedPermissions>((value) => hasMethods(value, 'can', 'rightsOf'), 'expected a PermissionService')
    .optional(),
  logger: z
    .custom<Logger>(
      (value) => hasMethods(value, 'error', 'warn', 'info', 'debug'),
      'expected an object with error, warn, info and debug',
    )
    .optional(),
  logLevel: z.enum(LOG_LEVELS).default('warn'),
  retry: z
    .strictObject({
      /** Upper bound of the first wait; doubles with every further one. */
      baseDelayMs: milliseconds.default(500),
      maxDelayMs: milliseconds.default(30_000),
      /** A provider that asks for a longer wait is not waited for. */
      retryAfterCapMs: milliseconds.default(60_000),
    })
    .prefault({}),
  updates: z
    .strictObject({
      /** Updates of a flow that settled longer ago are removed; absent: kept. */
      retentionMs: positiveMilliseconds.optional(),
    })
    .prefault({}),
  agents: z.record(z.string().min(1), agentSchema).default({}),
  /** For flows that set none of their own. */
  limits: flowLimitsSchema.optional(),
  timeouts: z
    .strictObject({
      flowMs: positiveMilliseconds.optional(),
      stepMs: positiveMilliseconds.optional(),
      firstChunkMs: positiveMilliseconds.optional(),
      idleMs: positiveMilliseconds.optional(),
    })
    .prefault({}),
  /**
   * How long a permission or sharing policy may be remembered; at most 1,000, so that a change counts within a second. The default leaves time for the looks at
   * open connections.
   */
  policyCacheMs: z.number().int().min(0).max(1_000).default(700),
  server: serverSettingsSchema.prefault({}),
  telemetry: telemetrySettingsSchema.prefault({}),
})

type ConfigData = z.output<typeof configSchema>

/** What `createPolyphony` takes (SPEC section 12). */
export type PolyphonyConfigInput = Readonly<
  Omit<z.input<typeof configSchema>, 'providers'> & {
    providers?: Readonly<Record<string, ProviderSettingsInput | PluggedProvider>>
  }
>

/** The configuration as the composition root reads it: whole and checked. */
export type ConfigValues = Readonly<
  Omit<ConfigData, 'providers'> & { readonly providers: Readonly<Record<string, ProviderSettings | PluggedProvider>> }
>
