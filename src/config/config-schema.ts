import * as z from 'zod'
import { flowLimitsSchema } from '../domain/definition/flow-definition.ts'
import type { ModelRequest, ModelResponse } from '../domain/execution/model-call.ts'
import { budgetsSchema } from '../domain/users/budget.ts'
import type { ThreadRight } from '../domain/users/thread.ts'
import { eventSettingsSchema, updateSettingsSchema } from './automation/event-settings.ts'
import { schedulesSchema } from './automation/schedule-settings.ts'
import { webhooksSchema } from './automation/webhook-settings.ts'
import { fileSettingsSchema } from './file-settings.ts'
import { agentSchema } from './operations/agent-settings.ts'
import { type FunctionsSetting, functionsSettingSchema } from './operations/function-settings.ts'
import {
  type HttpProviderSettings,
  type HttpProviderSettingsInput,
  httpProviderSchema,
  type McpServerSettingsInput,
  mcpServersSchema,
} from './operations/operation-settings.ts'
import { poolsSchema } from './pools/pool-settings.ts'
import { type ProviderSettings, type ProviderSettingsInput, providerSettingsSchema } from './provider-settings.ts'
import { serverSettingsSchema, telemetrySettingsSchema, workerSettingsSchema } from './server-settings.ts'
import { servicesSettingsSchema } from './services/services-settings.ts'

export const LOG_LEVELS = ['silent', 'error', 'warn', 'info', 'debug'] as const
export type LogLevel = (typeof LOG_LEVELS)[number]

/** Receives log lines. Lines never contain prompts, answers or keys. */
export interface Logger {
  error(message: string, facts?: Readonly<Record<string, unknown>>): void
  warn(message: string, facts?: Readonly<Record<string, unknown>>): void
  info(message: string, facts?: Readonly<Record<string, unknown>>): void
  debug(message: string, facts?: Readonly<Record<string, unknown>>): void
}

/**
 * A provider object in place of settings. Repeats the contract of `providers/provider.ts`, which config must not
 * import.
 */
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

/** A backend's own permissions. Repeats the contract of `policies/policy.ts`, which config must not import. */
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

/** Prices of one model, in US dollars per million tokens. */
const priceSchema = z.strictObject({
  /** US dollars per million tokens of input. */
  inputPerMillion: usdPerMillion,
  /** US dollars per million tokens of output, reasoning included. */
  outputPerMillion: usdPerMillion,
  /** US dollars per million input tokens that are read from the cache; default: `inputPerMillion`. */
  cachedInputPerMillion: usdPerMillion.optional(),
  /** US dollars per million input tokens that are written to the cache; default: `inputPerMillion`. */
  cacheWritePerMillion: usdPerMillion.optional(),
  /** US dollars that the vendor bills at most in one turn for the tools that it runs itself; limits reserve them. */
  hostedPerTurn: usdPerMillion.optional(),
})
export type ConfiguredPrice = z.output<typeof priceSchema>

const hasMethods = (value: unknown, ...names: readonly string[]): boolean =>
  typeof value === 'object' && value !== null && names.every((name) => typeof Reflect.get(value, name) === 'function')

const isDatabase = (value: unknown): boolean =>
  typeof value === 'string'
    ? /^(pglite:\/\/.+|memory:\/\/(\?flows=[1-9]\d*)?|postgres(ql)?:\/\/.+)$/s.test(value)
    : hasMethods(value, 'query', 'transaction')

export const isPluggedProvider = (value: unknown): value is PluggedProvider => hasMethods(value, 'generate')

/** The members of a TypeORM DataSource that Polyphony uses. Its own type would pull in all types of TypeORM. */
export interface PluggedDataSource {
  readonly isInitialized: boolean
  readonly driver: { readonly options: { readonly type: string } }
  query(statement: string, parameters?: never): Promise<unknown>
  transaction(work: never): Promise<unknown>
}

/** All settings, after the sources are merged. Provider objects are removed before and checked separately. */
export const configSchema = z.strictObject({
  /**
   * `pglite://<directory>` for the embedded database, `pglite://memory`, `postgres://…`, `memory://`, or an initialized
   * TypeORM DataSource. `memory://?flows=<count>` sets how many settled flows are kept; default 1,000. Default:
   * `pglite://.polyphony/data` in the working directory.
   */
  database: z
    .custom<string | PluggedDataSource>(
      isDatabase,
      'expected pglite://<directory>, pglite://memory, postgres://…, memory:// or an initialized TypeORM DataSource',
    )
    .default('pglite://.polyphony/data'),
  /**
   * What a process does when the schema of its Postgres database is behind: `auto` applies the missing migrations,
   * `check` refuses until `polyphony migrate` has run. Default: `check` for the command line and the server, `auto` for
   * the library. An empty database gets its schema in any case, and an embedded database is always migrated.
   */
  migrations: z.enum(['auto', 'check']).optional(),
  /** Provider accounts by id, the name in `provider/model`. Default: only those with a key in the environment. */
  providers: z.record(z.string().min(1), z.discriminatedUnion('kind', [providerSettingsSchema, httpProviderSchema])).default({}),
  /** Pools by name, the model in `pool/<name>`: several models of which one answers each call. Default: none. */
  pools: poolsSchema.default({}),
  /** MCP servers by the id of their provider: a step or a model calls `<id>/<tool>`. Default: none. */
  mcp: mcpServersSchema.default({}),
  /** Functions by name, for steps and models; in a file, the path of a module relative to it. Default: none. */
  functions: functionsSettingSchema.default({}),
  /** Whether the bundled simulator answers for every provider; results are marked as simulated. Default false. */
  simulator: z.boolean().default(false),
  /** Runs flows: `local` in the process that started them, `bullmq` over many processes. Default `local`. */
  engine: z.enum(['local', 'bullmq']).default('local'),
  /**
   * Whether this process runs queued flows; default true. With false it runs none: flows that it starts are queued for
   * other processes over the same Postgres.
   */
  takesFlows: z.boolean().default(true),
  /**
   * Flows that run at the same time; further ones wait in a queue that is fair between users. A number limits each
   * process. Default: no limits.
   */
  maxRunningFlows: z
    .union([
      z.number().int().positive(),
      z.strictObject({
        /** Flows that one process runs at the same time. */
        perProcess: z.number().int().positive().optional(),
        /** Flows of one user that run at the same time, over all processes. */
        perUser: z.number().int().positive().optional(),
      }),
    ])
    .optional(),
  /** Settings of engine `bullmq`. */
  bullmq: z
    .strictObject({
      /**
       * Milliseconds after which a process that stopped working loses its flows to others; default 15,000. At most a
       * fifth of it may lie between the clocks of a process and the database.
       */
      lockMs: z.number().int().min(500).default(15_000),
      /** Milliseconds between two searches for flows of processes that stopped working; default 5,000. */
      stalledMs: z.number().int().min(100).default(5_000),
      /** Number of flows that one process runs at the same time; default 100. */
      concurrency: z.number().int().positive().default(100),
      /**
       * Name of the queue, and first part of every key in Redis; default `polyphony`. Two databases that share one
       * Redis need two names.
       */
      queue: z
        .string()
        .regex(/^[a-z0-9_-]{1,40}$/i, 'expected at most 40 letters, digits, "-" and "_"')
        .default('polyphony'),
    })
    .prefault({}),
  /** `redis://` or `rediss://` URL. With engine `bullmq` the queue is kept there; without it, in the database. */
  redisUrl: z.url({ protocol: /^rediss?$/, error: 'expected a redis:// or rediss:// URL' }).optional(),
  /**
   * Directory in which every request to a provider and its answer are kept, without secrets, for `replay`. Default:
   * nothing is kept. Not together with `replay`.
   */
  record: z.string().min(1).optional(),
  /**
   * Directory of a recording that answers in place of the providers, without keys and without network. Default: the
   * providers answer.
   */
  replay: z.string().min(1).optional(),
  /** Answers that steps with `cache` keep in the memory of this process. */
  answerCache: z
    .strictObject({
      /** Number of answers; those that were not used for the longest time leave first. Default 1,000. */
      maxEntries: z.number().int().positive().default(1_000),
      /** Size of all answers in bytes; default 50,000,000. */
      maxBytes: z.number().int().positive().default(50_000_000),
      /** Milliseconds for which an answer is served again, where its step sets none; default 300,000. */
      ttlMs: positiveMilliseconds.default(300_000),
    })
    .prefault({}),
  /** Prices by `provider/model`; they win over the bundled price list. Default: none. */
  prices: z.record(z.string().min(1), priceSchema).default({}),
  /** The backend's own permission service. Default: permissions in the database. */
  permissions: z
    .custom<PluggedPermissions>((value) => hasMethods(value, 'can', 'rightsOf'), 'expected a PermissionService')
    .optional(),
  /** Receives log lines of at least `logLevel`. Default: JSON lines on standard error. */
  logger: z
    .custom<Logger>(
      (value) => hasMethods(value, 'error', 'warn', 'info', 'debug'),
      'expected an object with error, warn, info and debug',
    )
    .optional(),
  /** Least severe level that is logged; default `warn`, for `polyphony serve` `info`. */
  logLevel: z.enum(LOG_LEVELS).default('warn'),
  /** Waits between the attempts of a call. */
  retry: z
    .strictObject({
      /** Upper bound on the first wait in milliseconds; doubles with each further wait. Default 500. */
      baseDelayMs: milliseconds.default(500),
      /** Upper bound on every wait in milliseconds; default 30,000. */
      maxDelayMs: milliseconds.default(30_000),
      /** If a provider asks for a longer wait, in milliseconds, the call fails at once. Default 60,000. */
      retryAfterCapMs: milliseconds.default(60_000),
    })
    .prefault({}),
  /** Stored updates of flows. */
  updates: updateSettingsSchema.prefault({}),
  /** Events of services and users. */
  events: eventSettingsSchema.prefault({}),
  /** Limits and retention of stored files. */
  files: fileSettingsSchema.prefault({}),
  /** Named settings of steps; the fields of a built-in role replace its own. Default: the built-in roles. */
  agents: z.record(z.string().min(1), agentSchema).default({}),
  /** Limits of flows whose definition sets none. Default: no limits. */
  limits: flowLimitsSchema.optional(),
  /** Limits over many flows, by user, API key, thread or tag, in windows of time. Default: none. */
  budgets: budgetsSchema.default([]),
  /** Timeouts in milliseconds, for definitions and steps that set none. */
  timeouts: z
    .strictObject({
      /** Milliseconds for one execution of a flow. Default: no timeout. */
      flowMs: positiveMilliseconds.optional(),
      /** Milliseconds for one step, retries and waits included; default 600,000. */
      stepMs: positiveMilliseconds.optional(),
      /** Milliseconds until the first chunk of a streamed answer; default 120,000. */
      firstChunkMs: positiveMilliseconds.optional(),
      /** Milliseconds between two chunks of a streamed answer; default 60,000. */
      idleMs: positiveMilliseconds.optional(),
      /** Milliseconds that a flow waits for the result of a caller tool; default 3,600,000, one hour. */
      callerToolMs: positiveMilliseconds.optional(),
    })
    .prefault({}),
  /** Milliseconds for which permissions and sharing policies are cached; 700 leaves time for checks within a second. */
  policyCacheMs: z.number().int().min(0).max(1_000).default(700),
  /** Receivers of events of flows, signed as Standard Webhooks specifies. Default: none. */
  webhooks: webhooksSchema.default([]),
  /** Flows that servers and workers start again and again. Default: none. */
  schedules: schedulesSchema.prefault([]),
  /** Services: programs, addresses and code of this process that are started, watched and started again. */
  services: servicesSettingsSchema.prefault({}),
  /** Settings of `polyphony serve`. */
  server: serverSettingsSchema.prefault({}),
  /** Settings of `polyphony worker`. */
  worker: workerSettingsSchema.prefault({}),
  /** Settings of spans and metrics. */
  telemetry: telemetrySettingsSchema.prefault({}),
})

type ConfigData = z.output<typeof configSchema>

/** The configuration that `createPolyphony` takes; every setting is optional. */
export type PolyphonyConfigInput = Readonly<
  Omit<z.input<typeof configSchema>, 'providers' | 'functions' | 'mcp'> & {
    functions?: FunctionsSetting
    mcp?: Readonly<Record<string, McpServerSettingsInput>>
    providers?: Readonly<Record<string, ProviderSettingsInput | HttpProviderSettingsInput | PluggedProvider>>
  }
>

/** The complete and checked configuration, with defaults. */
export type ConfigValues = Readonly<
  Omit<ConfigData, 'providers'> & {
    readonly providers: Readonly<Record<string, ProviderSettings | HttpProviderSettings | PluggedProvider>>
  }
>
