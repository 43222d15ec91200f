import * as z from 'zod'
import { SERVICE_TYPES } from '../domain/services/service-definition.ts'
import { probePaceSchema, serviceIdSchema } from '../domain/services/service-schema.ts'
import { EXIT_REASONS, SERVICE_STATES } from '../domain/services/service-state.ts'
import { arrayOf, instant, queryInteger } from './instant.ts'
import { errorCode } from './problem.ts'

/** State of one service, as interfaces report it. */
export const serviceReport = z.object({
  id: z.string(),
  name: z.string(),
  type: z.enum(SERVICE_TYPES),
  driver: z.enum(['process', 'remote', 'in_process']),
  state: z.enum(SERVICE_STATES),
  health: z.enum(['unknown', 'healthy', 'unhealthy']),
  since: instant,
  /** Failed starts and runs since the last success that lasted. */
  attempt: z.number(),
  restarts: z.number(),
  nextStartAt: instant.optional(),
  /** Whether an earlier supervisor started the process that runs. */
  adopted: z.boolean(),
  process: z
    .object({
      pid: z.number(),
      startedAt: instant,
      processes: z.number().optional(),
      memoryBytes: z.number().optional(),
      /** Percent of one core. */
      cpuPercent: z.number().optional(),
      limits: z.object({
        memory: z.enum(['rlimit+sampled', 'sampled', 'none']),
        cpu: z.enum(['priority', 'none']),
      }),
    })
    .optional(),
  lastExit: z
    .object({ code: z.number().optional(), signal: z.string().optional(), at: instant, reason: z.enum(EXIT_REASONS) })
    .optional(),
  lastError: z.object({ code: errorCode, message: z.string() }).optional(),
  /** The last probe; `detail` contains nothing that the service sent. */
  probe: z.object({ at: instant, ms: z.number(), ok: z.boolean(), detail: z.string() }).optional(),
  inFlight: z.number(),
  endpoint: z.string().optional(),
  /** Present while only another process runs the service and advertises it. */
  elsewhere: z.object({ host: z.string(), ownerId: z.string(), address: z.string() }).optional(),
  metadata: z.record(z.string(), z.unknown()).readonly().optional(),
})
export type ReportedService = z.output<typeof serviceReport>

export const serviceList = z.object({ items: arrayOf(serviceReport) })

export const serviceParams = z.object({ serviceId: serviceIdSchema })

export const serviceQuery = z.object({
  type: z.enum(SERVICE_TYPES).optional(),
  state: z.enum(SERVICE_STATES).optional(),
})

const address = z.string().min(1).max(2_000)

const pause = (leastMs: number) => z.number().int().min(leastMs).max(86_400_000).optional()

/**
 * Programs choose how often they are asked for their health, within bounds: a thousand of them (the default of
 * `services.registration.max`) that asked for a probe every millisecond would take all time of the server.
 */
const registeredHealth = probePaceSchema.extend({
  url: address.optional(),
  /** Milliseconds between two probes of a service that runs. */
  intervalMs: pause(100),
  /** Milliseconds between two probes of a service that starts. */
  startIntervalMs: pause(20),
  /** Milliseconds between two probes of a service that failed some. */
  retryIntervalMs: pause(100),
})

/** A service that another program runs, as a request registers it. There is no field for a program. */
export const serviceRegistration = z.strictObject({
  id: serviceIdSchema,
  name: z.string().min(1).max(200).optional(),
  /** Default: `agent`. */
  type: z.enum([...SERVICE_TYPES, 'ai-agent']).optional(),
  /** Address under which the service is called. */
  endpoint: address.optional(),
  health: registeredHealth.optional(),
  /** Milliseconds within which the service repeats its heartbeat. Default: it needs none. */
  leaseMs: z.number().int().min(10).max(86_400_000).optional(),
  config: z.record(z.string(), z.unknown()).optional(),
  metadata: z.record(z.string(), z.unknown()).optional(),
})
export type ServiceRegistration = z.output<typeof serviceRegistration>

/** The same with the names of service files in snake case. */
export const seedRegistration = z.strictObject({
  id: serviceIdSchema,
  name: z.string().min(1).max(200).optional(),
  type: z.enum([...SERVICE_TYPES, 'ai-agent']).optional(),
  health_endpoint: address.optional(),
  api_endpoint: address.optional(),
  metadata: z.record(z.string(), z.unknown()).optional(),
})
export type SeedRegistration = z.output<typeof seedRegistration>

/** A report with the names of service files in snake case beside its own. */
export const seedReport = serviceReport.extend({
  type: z.enum([...SERVICE_TYPES, 'ai-agent']),
  /** The state of the service. */
  status: z.enum(SERVICE_STATES),
  api_endpoint: z.string().optional(),
})

export const logQuery = z.object({
  /** Lines from the end of the log; default 200. */
  lines: queryInteger(0, 10_000).default(200),
  /** Whether the answer continues with every further line. */
  follow: z.stringbool().default(false),
})

export const logLine = z.object({ at: instant.optional(), text: z.string(), cut: z.boolean().optional() })

/** What a new reading of the service files has changed, by the ids of the services. */
export const serviceReload = z.object({
  added: arrayOf(z.string()),
  changed: arrayOf(z.string()),
  removed: arrayOf(z.string()),
  /** Files that could not be used; the services of the others are. */
  problems: arrayOf(z.string()),
})
export type ReportedReload = z.output<typeof serviceReload>

/** Pools of the configuration with their members. */
export const poolList = z.object({
  items: arrayOf(
    z.object({
      name: z.string(),
      strategy: z.string(),
      members: arrayOf(z.object({ model: z.string(), weight: z.number().optional(), tier: z.number().optional() })),
    }),
  ),
})

/** Facts of the server process and the number of services in each state. */
export const systemReport = z.object({
  version: z.string(),
  pid: z.number(),
  uptimeSeconds: z.number(),
  /** Resident memory in bytes. */
  memoryBytes: z.number(),
  services: z.object({ total: z.number(), byState: z.partialRecord(z.enum(SERVICE_STATES), z.number()) }),
})
