import * as z from 'zod'
import { LONGEST_TIMER_MS } from '../../async/clock.ts'
import type { PolyphonyConfigInput } from '../../config/config.ts'
import { LOG_LEVELS } from '../../config/config-schema.ts'
import { parseSettings } from '../parse-settings.ts'
import type { OpenPolyphony } from './open-polyphony.ts'

const positiveMs = z.number().int().positive()
const intervalMs = positiveMs.max(LONGEST_TIMER_MS)
const delayMs = z.number().int().nonnegative()

/** Names of the strategies that choose the agent of a step. */
const BALANCING_STRATEGIES = ['performance_based', 'round_robin', 'least_connections', 'weighted'] as const

const cacheSchema = z.strictObject({
  /** Milliseconds for which a value is kept; default 300,000. */
  ttl: positiveMs.default(300_000),
  /** Which value leaves first; default `lru`. */
  strategy: z.enum(['lru', 'lfu', 'fifo']).default('lru'),
  /** Number of values; default 1,000. */
  maxEntries: z.number().int().positive().max(10_000_000).default(1_000),
})

const retrySchema = z.strictObject({
  /** Attempts of a step, the first one included; default 3. */
  maxAttempts: z.number().int().min(1).max(21).default(3),
  /** How the delays between attempts grow; default `exponential`. */
  backoff: z.enum(['exponential', 'linear', 'fixed']).default('exponential'),
  /** Milliseconds before the second attempt; default 500. */
  initialDelayMs: delayMs.optional(),
  /** Another name of `initialDelayMs`. */
  initialDelay: delayMs.optional(),
  /** Milliseconds that no delay exceeds; default 30,000. */
  maxDelayMs: delayMs.optional(),
  /** Another name of `maxDelayMs`. */
  maxDelay: delayMs.optional(),
})

const isObject = (value: unknown): boolean => typeof value === 'object' && value !== null

const configSchema = z.strictObject({
  /** Milliseconds between two checks of the health of all components; default 30,000. */
  healthCheckInterval: intervalMs.default(30_000),
  /** Milliseconds between two samples of the metrics; default 10,000. */
  metricsCollectionInterval: intervalMs.default(10_000),
  /** Milliseconds for one workflow, without its time in the queue; default 600,000. */
  workflowTimeout: positiveMs.default(600_000),
  /** Workflows that run at once; the others wait in the order of their start. Default 10. */
  maxConcurrentWorkflows: z.number().int().positive().default(10),
  /** Workflows that may wait; a further one is refused. Default 10,000. */
  maxQueue: z.number().int().min(0).default(10_000),
  /** How the agent of a step is chosen; default `performance_based`. */
  loadBalancingStrategy: z.enum(BALANCING_STRATEGIES).default('performance_based'),
  cacheConfig: cacheSchema.prefault({}),
  /** Repetition of failed steps. Steps of executors of your own are repeated only if it is given. */
  retryPolicy: retrySchema.optional(),
  /**
   * Whether metrics are sampled every `metricsCollectionInterval`; default true. Spans of flows go wherever an
   * OpenTelemetry SDK of the process sends them, whatever this says.
   */
  enableTelemetry: z.boolean().default(true),
  /** Least severe level that is logged. Default: as the configuration of Polyphony says. */
  logLevel: z.enum(LOG_LEVELS).optional(),
  /**
   * An open Polyphony, which `stop` leaves open, or the configuration of one of its own. Default: one in memory, unless
   * a database is configured; without any provider the simulator answers.
   */
  polyphony: z
    .custom<OpenPolyphony | PolyphonyConfigInput>(isObject, 'expected a Polyphony or the configuration of one')
    .optional(),
  /** The user to whom all workflows belong; default `local`. */
  userId: z.string().min(1).default('local'),
  /** `allow`: the user lets every provider read what agents of other providers wrote. Default `deny`. */
  dataSharing: z.enum(['deny', 'allow']).default('deny'),
})

type ConfigInput = z.input<typeof configSchema>

/** A text that is one of the names. Any text is accepted as a type, so that settings from a file need no cast. */
type Named<Name extends string> = Name | (string & Record<never, never>)

/**
 * Settings of an `Orchestrator`, all optional. Names of strategies, delays and levels are checked when it is built,
 * which throws CONFIG_INVALID for any other text.
 */
export interface OrchestratorConfig
  extends Omit<ConfigInput, 'loadBalancingStrategy' | 'cacheConfig' | 'retryPolicy' | 'logLevel'> {
  /** How the agent of a step is chosen; default `performance_based`. */
  loadBalancingStrategy?: Named<(typeof BALANCING_STRATEGIES)[number]> | undefined
  cacheConfig?:
    | (Omit<z.input<typeof cacheSchema>, 'strategy'> & { strategy?: Named<'lru' | 'lfu' | 'fifo'> | undefined })
    | undefined
  /** Repetition of failed steps. Steps of executors of your own are repeated only if it is given. */
  retryPolicy?:
    | (Omit<z.input<typeof retrySchema>, 'backoff'> & { backoff?: Named<'exponential' | 'linear' | 'fixed'> | undefined })
    | undefined
  /** Least severe level that is logged. Default: as the configuration of Polyphony says. */
  logLevel?: Named<(typeof LOG_LEVELS)[number]> | undefined
}

export interface RetryPolicy {
  readonly maxAttempts: number
  readonly backoff: 'exponential' | 'linear' | 'fixed'
  readonly initialDelayMs: number
  readonly maxDelayMs: number
}

export type OrchestratorSettings = Omit<z.output<typeof configSchema>, 'retryPolicy'> & {
  readonly retryPolicy: RetryPolicy
  /** Whether the caller gave a policy. */
  readonly repeatsOwnSteps: boolean
}

/** The complete settings of an orchestrator. Throws CONFIG_INVALID. */
export function parseOrchestratorConfig(config: unknown): OrchestratorSettings {
  const { retryPolicy, ...settings } = parseSettings(configSchema, config, 'Orchestrator')
  const { maxAttempts, backoff, ...delays } = retryPolicy ?? retrySchema.parse({})
  const initialDelayMs = delays.initialDelayMs ?? delays.initialDelay ?? 500
  const maxDelayMs = delays.maxDelayMs ?? delays.maxDelay ?? 30_000
  return {
    ...settings,
    retryPolicy: { maxAttempts, backoff, initialDelayMs, maxDelayMs },
    repeatsOwnSteps: retryPolicy !== undefined,
  }
}

const GROWTH: Readonly<Record<RetryPolicy['backoff'], (failures: number) => number>> = {
  exponential: (failures) => 2 ** (failures - 1),
  linear: (failures) => failures,
  fixed: () => 1,
}

/** Milliseconds before the next attempt, after so many failures in a row, from 1. */
export const delayAfter = ({ backoff, initialDelayMs, maxDelayMs }: RetryPolicy, failures: number): number =>
  Math.min(maxDelayMs, initialDelayMs * GROWTH[backoff](failures))
