import type { Logger, PolyphonyConfig } from '../config/config.ts'
import { createLogger } from '../config/logger.ts'
import type { FlowObservation, FlowObserver, StartedFlow } from '../domain/execution/observation.ts'
import { createFlowLog } from './flow-log.ts'
import type { MetricsOptions } from './metrics.ts'
import { joinObservers } from './observers.ts'
import { requestContext } from './request-context.ts'
import type { Metrics, Telemetry } from './telemetry.ts'
import type { TracedProvider, TracingOptions } from './tracing.ts'

export interface CreatedTelemetry {
  readonly telemetry: Telemetry
  /** The configured logger. It also receives lines about flows and calls, as its level allows. */
  readonly logger: Logger
  /** The observer for executions of flows. */
  readonly observer: FlowObserver
}

export interface TelemetrySources extends Pick<MetricsOptions, 'droppedEvents' | 'isService' | 'services'> {
  readonly providers: readonly TracedProvider[]
  readonly flowTypes: readonly string[]
}

/** Builds logs, traces and metrics. Called once per Polyphony instance. */
export function createTelemetry(
  config: Pick<PolyphonyConfig, 'telemetry' | 'logger' | 'logLevel'>,
  { providers, ...sources }: TelemetrySources,
): CreatedTelemetry {
  const logger = createLogger(config.logger, config.logLevel)
  const observers: FlowObserver[] = [
    createLazyTracing({ providers, ...config.telemetry }),
    createFlowLog(logger, config.logLevel),
  ]
  let metrics: Promise<Metrics> | undefined

  async function startMetrics(): Promise<Metrics> {
    const { createMetrics } = await import('./metrics.ts')
    const created = createMetrics({ providerIds: providers.map(({ id }) => id), ...sources })
    observers.push(created.observer)
    return created.metrics
  }

  return {
    logger,
    observer: joinObservers(observers),
    telemetry: {
      requestContext,
      metrics: () => {
        metrics ??= startMetrics()
        return metrics
      },
    },
  }
}

/** Loads the OpenTelemetry API with the first traced flow. */
function createLazyTracing(options: TracingOptions): FlowObserver {
  let loaded: ((flow: StartedFlow) => FlowObservation) | undefined
  const load = async (flow: StartedFlow) => {
    const { createTracing } = await import('./tracing.ts')
    loaded ??= createTracing(options)
    return loaded(flow)
  }
  return { isWatching: isSdkRegistered, flowStarted: (flow) => (loaded ? loaded(flow) : load(flow)) }
}

/**
 * Key under which every copy of the OpenTelemetry API of major version 1 finds a registered SDK (`@opentelemetry/api`,
 * global-utils).
 */
const API_GLOBAL = Symbol.for('opentelemetry.js.api.1')

function isSdkRegistered(): boolean {
  const registered: unknown = Reflect.get(globalThis, API_GLOBAL)
  return typeof registered === 'object' && registered !== null && 'trace' in registered && registered.trace !== undefined
}
