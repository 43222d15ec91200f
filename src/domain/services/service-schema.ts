import * as z from 'zod'
import { expectation } from '../definition/problems.ts'
import { fillPlaceholders, placeholdersOf, unknownPlaceholders } from './placeholders.ts'
import { SERVICE_CONFIG_SCHEMAS } from './service-config.ts'
import { SERVICE_TYPES, type ServiceType } from './service-definition.ts'
import { serviceProviderSchema } from './service-provider.ts'
import { parseByteSize, parseCpuPercent } from './service-sizes.ts'
import { splitCommand } from './split-command.ts'

const MAX_METADATA_BYTES = 16_384
const milliseconds = z.number().int().nonnegative().max(86_400_000)
const positiveMilliseconds = z.number().int().positive().max(86_400_000)
const count = z.number().int().positive().max(1_000)

/** Text with no other placeholder than `{{port}}`, `{{endpoint}}` and `{{id}}`. */
const filled = z.string().superRefine((text, context) => {
  for (const name of unknownPlaceholders(text)) {
    context.addIssue({ code: 'custom', message: `expected {{port}}, {{endpoint}} or {{id}} and not {{${name}}}` })
  }
  if (text.includes('\0')) context.addIssue({ code: 'custom', message: 'expected text without NUL' })
})

const httpAddress = filled.refine(
  (text) => /^https?:\/\/[^\s]+$/i.test(text) || text.startsWith('{{endpoint}}'),
  'expected an address that begins with http:// or https://',
)

const isOrigin = (text: string): boolean => /^https?:\/\/[^\s/?#@{}]+\/?$/i.test(text) && URL.canParse(text)

/** Scheme, host and port; the path is that of the endpoint. */
const advertisedAddress = filled.refine(
  (text) => isOrigin(fillPlaceholders(text, { id: 'a', port: 1 })),
  'expected http://host:port, which other machines reach, without a path',
)

export const serviceIdSchema = z
  .string()
  .regex(/^[a-z0-9][a-z0-9-]{0,62}$/, 'expected 1 to 63 lower-case letters, digits and "-", the first no "-"')

/** The log of a program has the name of its id, beside `orchestrator.log` of the server. */
const SERVER_LOG_ID = 'orchestrator'

const commandSchema = z.union([z.string(), z.array(filled).min(1).max(1_000).readonly()]).transform((given, context) => {
  const words = typeof given === 'string' ? splitCommand(given) : given
  const [program, ...rest] = words ?? []
  if (program === undefined || program === '') {
    const message = words === undefined ? 'expected every quote to be closed' : 'expected a program'
    context.addIssue({ code: 'custom', message })
    return z.NEVER
  }
  const wrong = typeof given === 'string' ? unknownPlaceholders(given) : []
  if (wrong.length > 0) {
    context.addIssue({ code: 'custom', message: `expected {{port}}, {{endpoint}} or {{id}} and not {{${wrong[0]}}}` })
    return z.NEVER
  }
  const command: readonly [string, ...string[]] = [program, ...rest]
  return command
})

/** When and how the health of a service is asked; the configuration has the defaults. */
export const probePaceSchema = z.strictObject({
  /** Milliseconds between two probes of a service that runs. */
  intervalMs: positiveMilliseconds.optional(),
  /** Milliseconds for one probe. */
  timeoutMs: positiveMilliseconds.optional(),
  /** Milliseconds between two probes of a service that starts. */
  startIntervalMs: positiveMilliseconds.optional(),
  /** Milliseconds between two probes of a service that failed some. */
  retryIntervalMs: positiveMilliseconds.optional(),
  /** Failed probes in a row after which the service is `degraded`. */
  failureThreshold: count.optional(),
  /** Good probes in a row after which a degraded service runs again; doubles, to at most 8, if it fails again soon. */
  successThreshold: count.optional(),
  /** Milliseconds without any sign of health after which a degraded service is started again. */
  restartAfterMs: positiveMilliseconds.optional(),
})

const healthSchema = probePaceSchema
  .extend({
    /** Address that answers with a 2xx status while the service is healthy. */
    url: httpAddress.optional(),
    /** `host:port` that accepts connections while the service is healthy. */
    tcp: filled.regex(/^[^\s/]+:(\d{1,5}|\{\{port\}\})$/, 'expected host:port').optional(),
  })
  .refine(({ url, tcp }) => url === undefined || tcp === undefined, 'expected url or tcp and not both')

const byteSize = z.union([z.number().int().positive(), z.string()]).transform((given, context) => {
  const bytes = typeof given === 'number' ? given : parseByteSize(given)
  if (bytes !== undefined && bytes > 0) return bytes
  context.addIssue({ code: 'custom', message: 'expected a size such as 512MB' })
  return z.NEVER
})

const cpuPercent = z.union([z.number().positive(), z.string()]).transform((given, context) => {
  const percent = typeof given === 'number' ? given : parseCpuPercent(given)
  if (percent !== undefined && percent > 0) return percent
  context.addIssue({ code: 'custom', message: 'expected a share of one core such as 25%' })
  return z.NEVER
})

export const restartSchema = z.strictObject({
  when: z.enum(['failure', 'always', 'never']).optional(),
  /** Failures in a row after which the service is given up. */
  maxRetries: z.number().int().min(0).max(1_000_000).optional(),
  /** Milliseconds before the first restart; doubles with every further failure. */
  delayMs: milliseconds.optional(),
  /** Upper bound on those milliseconds. */
  maxDelayMs: milliseconds.optional(),
  /** Milliseconds in state `running` after which earlier failures no longer count. */
  resetAfterMs: positiveMilliseconds.optional(),
})

export const STOP_SIGNALS = ['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGQUIT', 'SIGUSR1', 'SIGUSR2'] as const

export const stopSchema = z.strictObject({
  /** Signal that asks the process group to end. */
  signal: z.enum(STOP_SIGNALS).optional(),
  /** Milliseconds until a service that was asked to end is ended by force. */
  timeoutMs: milliseconds.optional(),
  /** Milliseconds until a service that was ended by force counts as unkillable. */
  killTimeoutMs: positiveMilliseconds.optional(),
  /** Milliseconds that calls in flight get before the service is asked to end. */
  drainMs: milliseconds.optional(),
})

const environmentName = z.string().regex(/^[A-Za-z_][A-Za-z0-9_]*$/, 'expected a name of letters, digits and "_"')
const typeSchema = z.enum([...SERVICE_TYPES, 'ai-agent']).transform((type): ServiceType => (type === 'ai-agent' ? 'agent' : type))

/** One service in its canonical form: a program, an address, or code of this process. */
export const serviceSchema = z
  .strictObject({
    id: serviceIdSchema,
    /** Name for people; default: the id. */
    name: z.string().min(1).max(200).optional(),
    type: typeSchema,
    /** A new service runs nothing. */
    status: z.literal('idle').optional(),
    /** Settings of the type, such as `{ model, maxTokens }`. */
    config: z.record(z.string(), z.unknown()).optional(),
    /** Anything in JSON, at most 16 kB; kept and given back. */
    metadata: z.record(z.string(), z.unknown()).optional(),
    /** Program and arguments, as a list or as one line with quotes. No shell reads them. */
    executable: commandSchema.optional(),
    /** Folder in which the program starts; default: that of the service file. */
    cwd: z.string().min(1).optional(),
    /** Port that the service listens on; `auto`: a free one. */
    port: z.union([z.number().int().min(1).max(65_535), z.literal('auto')]).optional(),
    /** Address under which the service is called. */
    endpoint: httpAddress.optional(),
    /** `http://host:port` under which processes on other machines reach the service; its path is that of `endpoint`. */
    advertise: advertisedAddress.optional(),
    health: healthSchema.optional(),
    /** The service is ready when a line of its output contains this text. */
    ready: z.strictObject({ logLine: z.string().min(1).max(1_000) }).optional(),
    /** `auto`: starts with all services; `manual`: on a command; `demand`: with the first call of a step as well. */
    start: z.enum(['auto', 'manual', 'demand']).default('auto'),
    /** Milliseconds without a call after which a service with `start: demand` is stopped. Default: it is not. */
    idleStopMs: positiveMilliseconds.optional(),
    /** How the service answers steps that name its id: `model: 'writer-1/llama3.2'`. */
    provider: serviceProviderSchema.optional(),
    /** Ids of services that run before this one starts. */
    dependsOn: z.array(serviceIdSchema).max(1_000).default([]),
    restart: restartSchema.prefault({}),
    stop: stopSchema.prefault({}),
    /** Milliseconds until a service that is not ready is started again. */
    startTimeoutMs: positiveMilliseconds.optional(),
    /** Milliseconds after which a process without a probe is ready. */
    minUptimeMs: milliseconds.optional(),
    /** Milliseconds for one call of the service by code. */
    callTimeoutMs: positiveMilliseconds.optional(),
    /** What the next supervisor does with a process whose supervisor died. */
    orphans: z.enum(['stop', 'adopt']).default('stop'),
    /** Limits of the whole process tree. */
    limits: z.strictObject({ memory: byteSize.optional(), cpu: cpuPercent.optional() }).prefault({}),
    /** Variables of the process. */
    environment: z.record(environmentName, filled).default({}),
    /** Names of variables that the process gets from this one. */
    passEnvironment: z.array(environmentName).max(1_000).default([]),
    /** Exit codes besides 0 that are a success. */
    successExitCodes: z.array(z.number().int().min(0).max(255)).max(256).default([]),
    /** Milliseconds within which a remote service repeats its heartbeat; absent: it needs none. */
    leaseMs: z.number().int().min(10).max(86_400_000).optional(),
  })
  .superRefine((service, context) => {
    const needsProgram = ['cwd', 'ready', 'port'] as const
    for (const key of needsProgram) {
      if (service[key] !== undefined && service.executable === undefined) {
        context.addIssue({ code: 'custom', path: [key], message: 'expected only together with executable' })
      }
    }
    if (service.provider !== undefined && service.endpoint === undefined) {
      context.addIssue({ code: 'custom', path: ['provider'], message: 'expected only together with endpoint' })
    }
    if (service.advertise !== undefined && service.endpoint === undefined) {
      context.addIssue({ code: 'custom', path: ['advertise'], message: 'expected only together with endpoint' })
    }
    if (service.idleStopMs !== undefined && service.start !== 'demand') {
      context.addIssue({ code: 'custom', path: ['idleStopMs'], message: 'expected only together with start: demand' })
    }
    if (service.id === SERVER_LOG_ID && service.executable !== undefined) {
      context.addIssue({
        code: 'custom',
        path: ['id'],
        message: 'expected another id, because the log of the server has this name',
      })
    }
    if (service.dependsOn.includes(service.id)) {
      context.addIssue({ code: 'custom', path: ['dependsOn'], message: 'expected other services than itself' })
    }
    if (service.config !== undefined) {
      const parsed = SERVICE_CONFIG_SCHEMAS[service.type].safeParse(service.config)
      for (const issue of parsed.error?.issues ?? []) {
        context.addIssue({ code: 'custom', path: ['config', ...issue.path], message: expectation(issue) })
      }
    }
    // The definition of a program is hashed as JSON, so that a changed one is not adopted.
    if (service.config !== undefined && byteLength(service.config) === Number.POSITIVE_INFINITY) {
      context.addIssue({ code: 'custom', path: ['config'], message: 'expected values that JSON can hold' })
    }
    for (const { path, text } of filledTexts(service)) {
      for (const name of ['port', 'endpoint'] as const) {
        if (!placeholdersOf(text).includes(name) || (service[name] !== undefined && path[0] !== name)) continue
        context.addIssue({ code: 'custom', path: [...path], message: `expected ${name} to be set for {{${name}}}` })
      }
    }
    if (service.metadata !== undefined && byteLength(service.metadata) > MAX_METADATA_BYTES) {
      context.addIssue({ code: 'custom', path: ['metadata'], message: `expected JSON of at most ${MAX_METADATA_BYTES} bytes` })
    }
  })

interface FilledText {
  readonly path: readonly (string | number)[]
  readonly text: string
}

/** The texts whose placeholders are filled when the service starts. */
function filledTexts({ executable = [], environment, endpoint, advertise, health }: FilledValues): readonly FilledText[] {
  const one = (path: FilledText['path'], text: string | undefined) => (text === undefined ? [] : [{ path, text }])
  return [
    ...executable.flatMap((text, index) => one(['executable', index], text)),
    ...Object.entries(environment).flatMap(([name, text]) => one(['environment', name], text)),
    ...one(['endpoint'], endpoint),
    ...one(['advertise'], advertise),
    ...one(['health', 'url'], health?.url),
    ...one(['health', 'tcp'], health?.tcp),
  ]
}

interface FilledValues {
  readonly executable?: readonly string[] | undefined
  readonly environment: Readonly<Record<string, string>>
  readonly endpoint?: string | undefined
  readonly advertise?: string | undefined
  readonly health?: { readonly url?: string | undefined; readonly tcp?: string | undefined } | undefined
}

function byteLength(value: unknown): number {
  try {
    return new TextEncoder().encode(JSON.stringify(value)).length
  } catch {
    // JSON cannot hold a value that contains itself.
    return Number.POSITIVE_INFINITY
  }
}

/** A checked service. */
export type ServiceDefinition = z.output<typeof serviceSchema>
/** A service as a file or code writes it. */
export type ServiceDefinitionInput = z.input<typeof serviceSchema>
