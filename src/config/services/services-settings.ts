import * as z from 'zod'
import { probePaceSchema, restartSchema, stopSchema } from '../../domain/services/service-schema.ts'

const milliseconds = z.number().int().nonnegative().max(86_400_000)
const positiveMilliseconds = z.number().int().positive().max(86_400_000)

const healthSettings = z.strictObject({
  /** Whether services are probed at all; default true. */
  enabled: z.boolean().default(true),
  /** Milliseconds between two probes of a service that runs; default 30,000. */
  intervalMs: probePaceSchema.shape.intervalMs.unwrap().default(30_000),
  /** Milliseconds for one probe; default 10,000. */
  timeoutMs: probePaceSchema.shape.timeoutMs.unwrap().default(10_000),
  /** Milliseconds between two probes of a service that starts; default 500. */
  startIntervalMs: probePaceSchema.shape.startIntervalMs.unwrap().default(500),
  /** Milliseconds between two probes of a degraded service; default 2,000. */
  retryIntervalMs: probePaceSchema.shape.retryIntervalMs.unwrap().default(2_000),
  /** Failed probes in a row after which a service is degraded; default 3. */
  failureThreshold: probePaceSchema.shape.failureThreshold.unwrap().default(3),
  /** Good probes in a row after which a degraded service runs again; default 2. */
  successThreshold: probePaceSchema.shape.successThreshold.unwrap().default(2),
  /** Milliseconds without any sign of health after which a degraded service is started again; default 60,000. */
  restartAfterMs: probePaceSchema.shape.restartAfterMs.unwrap().default(60_000),
})

const restartSettings = z.strictObject({
  /** `failure`, the default: after every failure. `always`: after a success too. `never`: not at all. */
  when: restartSchema.shape.when.unwrap().default('failure'),
  /** Failures in a row after which a service is given up; default 3. */
  maxRetries: restartSchema.shape.maxRetries.unwrap().default(3),
  /** Milliseconds before the first restart; doubles with every further failure. Default 30,000. */
  delayMs: restartSchema.shape.delayMs.unwrap().default(30_000),
  /** Upper bound on those milliseconds; default 300,000. */
  maxDelayMs: restartSchema.shape.maxDelayMs.unwrap().default(300_000),
  /** Milliseconds in state `running` after which earlier failures no longer count; default 600,000. */
  resetAfterMs: restartSchema.shape.resetAfterMs.unwrap().default(600_000),
})

const stopSettings = z.strictObject({
  /** Milliseconds until a service that was asked to end is ended by force; default 10,000. */
  timeoutMs: stopSchema.shape.timeoutMs.unwrap().default(10_000),
  /** Milliseconds until a service that was ended by force counts as unkillable; default 5,000. */
  killTimeoutMs: stopSchema.shape.killTimeoutMs.unwrap().default(5_000),
  /** Milliseconds that calls in flight get before a service is asked to end; default 10,000. */
  drainMs: stopSchema.shape.drainMs.unwrap().default(10_000),
})

const REGISTRATION_MODES = ['loopback', 'off'] as const

const registrationSettings = z.strictObject({
  /** `loopback`, the default: programs at addresses of this machine and of `origins`. `off`: none. */
  accept: z.enum(REGISTRATION_MODES).default('loopback'),
  /** Origins of services besides those of this machine, such as `https://models.example.com`. Default: none. */
  origins: z.array(z.url({ protocol: /^https?$/ })).default([]),
  /**
   * Milliseconds within which a program that names neither a health address nor a time of its own repeats its
   * heartbeat; default 30,000.
   */
  leaseMs: positiveMilliseconds.min(10).default(30_000),
  /** Number of registered services at most; default 1,000. */
  max: z.number().int().positive().max(100_000).default(1_000),
})

/** Variables without keys of providers: no key reaches a program by accident. */
const INHERITED = [
  ...['PATH', 'HOME', 'USER', 'LANG', 'TZ', 'TMPDIR', 'SSL_CERT_FILE', 'NODE_EXTRA_CA_CERTS', 'NO_PROXY', 'no_proxy'],
  ...['HTTP_PROXY', 'HTTPS_PROXY', 'http_proxy', 'https_proxy', 'LC_*'],
]

/** Services of this instance: where their files are, and the settings of those that set none of their own. */
export const servicesSettingsSchema = z.strictObject({
  /** Folder of the service files, relative to the working directory; default `services`. */
  dir: z.string().min(1).default('services'),
  /** Folder of the files that belong to running programs; default `.polyphony`. */
  dataDir: z.string().min(1).default('.polyphony'),
  /** Folder of the logs of programs. Default: `logs` in `dataDir`. */
  logDir: z.string().min(1).optional(),
  /**
   * Programs, and services of this process with a `start` handler, that run at the same time; further ones wait.
   * Default 100.
   */
  maxConcurrent: z.number().int().positive().default(100),
  /**
   * Absolute paths of the only programs that services may run; every other `executable` of a service file or of code is
   * refused. Read from the file and from code, never from the environment. Default `false`: no such list. No request
   * can name a program in either case.
   */
  allowExecutables: z
    .union([z.literal(false), z.array(z.string().regex(/^\/[^\0]*$/, 'expected an absolute path')).readonly()])
    .default(false),
  /** Services that start at the same time; default 4. */
  startConcurrency: z.number().int().positive().default(4),
  /** When and how services are asked for their health. */
  health: healthSettings.prefault({}),
  /** Milliseconds until a service that is not ready is started again; default 60,000. */
  startTimeoutMs: positiveMilliseconds.default(60_000),
  /** Milliseconds after which a program without a probe is ready; default 1,000. */
  minUptimeMs: milliseconds.default(1_000),
  /** Milliseconds for one call of a service by code (`services.call`); default 300,000. */
  callTimeoutMs: positiveMilliseconds.default(300_000),
  /** When services are started again. */
  restart: restartSettings.prefault({}),
  /** How services are ended. */
  stop: stopSettings.prefault({}),
  /** Logs of programs. */
  logs: z
    .strictObject({
      /** Bytes of one file; default 10,485,760. */
      maxBytes: z.number().int().min(1_024).default(10_485_760),
      /** Number of full files that are kept; default 5. */
      keep: z.number().int().min(0).max(1_000).default(5),
    })
    .prefault({}),
  /** Milliseconds between two readings of the memory of programs; default 2,000. */
  sampleEveryMs: positiveMilliseconds.default(2_000),
  /** A program of its own kind of limit fails to allocate above this multiple of its memory limit; default 2. */
  memoryHardFactor: z.number().min(1).max(100).default(2),
  /** Variables of programs. */
  environment: z
    .strictObject({
      /** Names of variables that every program gets from this process; `*` at the end stands for any text. */
      inherit: z.array(z.string().min(1)).default(INHERITED),
    })
    .prefault({}),
  /** Programs that register themselves; `off`, `loopback`, or settings. */
  registration: z
    .union([z.enum(REGISTRATION_MODES).transform((accept) => registrationSettings.parse({ accept })), registrationSettings])
    .prefault({}),
})

export type ServicesSettings = z.output<typeof servicesSettingsSchema>
