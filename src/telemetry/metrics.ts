import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client'
import { isUnpriced } from '../domain/execution/cost.ts'
import type { CallObservation, CallStart, FlowObservation, FlowObserver, StartedFlow } from '../domain/execution/observation.ts'
import type { Attempt } from '../domain/execution/step-result.ts'
import type { ServiceFigures } from '../domain/services/service-figures.ts'
import { cappedLabel, knownLabel, type Label, OTHER } from './bounded-label.ts'
import { countServices, MAX_SERVICES } from './service-metrics.ts'
import type { HttpRequestFacts, Metrics } from './telemetry.ts'

export interface MetricsOptions {
  /** Ids of the configured providers. Only these and those of services become labels. */
  readonly providerIds: readonly string[]
  /** Whether a provider is a service, which may have been registered later. Default: none is. */
  readonly isService?: (provider: string) => boolean
  /** The services of this process. Read at every scrape; default: none. */
  readonly services?: () => readonly ServiceFigures[]
  readonly flowTypes: readonly string[]
  /** Events that handlers of this process have lost so far. Read once per scrape. */
  readonly droppedEvents: () => number
}

export interface CreatedMetrics {
  readonly metrics: Metrics
  readonly observer: FlowObserver
}

const CALL_SECONDS = [0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 80, 160, 320, 640]
const FLOW_SECONDS = [1, 2.5, 5, 10, 20, 40, 80, 160, 320, 640, 1_280, 3_600]
const REQUEST_SECONDS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60]

const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']
const STATUS_CLASSES = ['1xx', '2xx', '3xx', '4xx', '5xx']
/** Several times the number of routes of the server. */
const MAX_ROUTES = 300

/**
 * Counts calls, flows and requests, in a registry separate from those of other Polyphony instances and of the
 * application.
 */
export function createMetrics(options: MetricsOptions): CreatedMetrics {
  const { flowTypes, droppedEvents, services } = options
  const registry = new Registry()
  const observer = { isWatching: () => true, flowStarted: countFlows(registry, knownLabel(flowTypes), toProviderLabel(options)) }
  if (services) countServices(registry, services)
  countDroppedEvents(registry, droppedEvents)
  const ofProcess = processRegistry()
  const text = async () => `${await registry.metrics()}\n${await ofProcess.metrics()}`
  return { observer, metrics: { ...countRequests(registry), text, contentType: registry.contentType } }
}

/** Ids of services are bounded by their number, because programs may register themselves under ever new ones. */
function toProviderLabel({ providerIds, isService = () => false }: MetricsOptions): Label {
  const configured = knownLabel(providerIds)
  const serviceLabel = cappedLabel(MAX_SERVICES)
  return (provider) => (isService(provider) ? serviceLabel(provider) : configured(provider))
}

function countDroppedEvents(registry: Registry, droppedEvents: () => number): void {
  const counter = new Counter({
    name: 'polyphony_events_dropped_total',
    help: 'Events that handlers and readers of this process have lost because they were too slow.',
    registers: [registry],
    collect() {
      counter.reset()
      counter.inc(droppedEvents())
    },
  })
}

let shared: Registry | undefined

/** Created once per process, because the collectors of process metrics cannot be removed. */
function processRegistry(): Registry {
  if (!shared) {
    shared = new Registry()
    collectDefaultMetrics({ register: shared })
  }
  return shared
}

function countFlows(registry: Registry, typeLabel: Label, providerLabel: Label): (flow: StartedFlow) => FlowObservation {
  const registers = [registry]
  const running = new Gauge({ name: 'polyphony_running_flows', help: 'Flows that this process executes now.', registers })
  const flows = new Counter({
    name: 'polyphony_flows_total',
    help: 'Executions of flows that ended.',
    labelNames: ['type', 'status', 'simulated'],
    registers,
  })
  const flowSeconds = new Histogram({
    name: 'polyphony_flow_duration_seconds',
    help: 'Duration of executions of flows.',
    labelNames: ['type'],
    buckets: FLOW_SECONDS,
    registers,
  })
  const callStarted = countCalls(registry, providerLabel)

  return ({ flowType, stepId }) => {
    // The execution of a single step does not count as an execution of the flow.
    if (stepId !== undefined) return { callStarted, ended: () => {} }
    const type = typeLabel(flowType)
    running.inc()
    return {
      callStarted,
      ended({ status, durationMs, simulated }) {
        running.dec()
        flows.inc({ type, status, simulated: String(simulated) })
        flowSeconds.observe({ type }, durationMs / 1_000)
      },
    }
  }
}

function countCalls(registry: Registry, providerLabel: Label): (call: CallStart) => CallObservation {
  const registers = [registry]
  const labelNames = ['provider', 'simulated'] as const
  const outcomes = ['provider', 'outcome', 'simulated'] as const
  const calls = new Counter({
    name: 'polyphony_calls_total',
    help: 'Logical calls including retries and fallbacks, by the provider that answered or was called last; "ok" or the error code.',
    labelNames: outcomes,
    registers,
  })
  const attempts = new Counter({
    name: 'polyphony_attempts_total',
    help: 'Attempts sent to a provider; "ok" or the error code.',
    labelNames: outcomes,
    registers,
  })
  const retries = new Counter({
    name: 'polyphony_retries_total',
    help: 'Attempts of a call after its first, at the same provider or at a fallback.',
    labelNames,
    registers,
  })
  const callSeconds = new Histogram({
    name: 'polyphony_call_duration_seconds',
    help: 'Duration of logical calls, waits included.',
    labelNames,
    buckets: CALL_SECONDS,
    registers,
  })
  const tokens = new Counter({
    name: 'polyphony_tokens_total',
    help: 'Tokens of all attempts. Cached and cache_write are part of input, reasoning is part of output.',
    labelNames: ['provider', 'kind', 'simulated'],
    registers,
  })
  const costUsd = new Counter({
    name: 'polyphony_cost_usd_total',
    help: 'US dollars of all attempts with a known price.',
    labelNames,
    registers,
  })
  const unpriced = new Counter({
    name: 'polyphony_unpriced_attempts_total',
    help: 'Attempts billed without a known price. Simulated attempts are never billed.',
    labelNames: ['provider'],
    registers,
  })

  const countAttempt = (attempt: Attempt) => {
    const { usage, cost, error } = attempt
    const provider = providerLabel(attempt.provider)
    const simulated = String(attempt.simulated)
    attempts.inc({ provider, outcome: error?.code ?? 'ok', simulated })
    if (attempt.number > 1) retries.inc({ provider, simulated })
    const kinds = {
      input: usage?.inputTokens,
      cached: usage?.cachedInputTokens,
      cache_write: usage?.cacheWriteTokens,
      output: usage?.outputTokens,
      reasoning: usage?.reasoningTokens,
    }
    for (const [kind, count] of Object.entries(kinds)) if (count) tokens.inc({ provider, kind, simulated }, count)
    if (cost !== undefined) costUsd.inc({ provider, simulated }, cost)
    else if (isUnpriced(attempt)) unpriced.inc({ provider })
  }

  return (call) => {
    let lastProvider = call.provider
    return {
      attempted(attempt) {
        lastProvider = attempt.provider
        countAttempt(attempt)
      },
      ended({ answer, errorCode, durationMs, simulated }) {
        const labels = { provider: providerLabel(answer?.provider ?? lastProvider), simulated: String(simulated) }
        calls.inc({ ...labels, outcome: errorCode ?? 'ok' })
        callSeconds.observe(labels, durationMs / 1_000)
      },
    }
  }
}

function countRequests(registry: Registry) {
  const registers = [registry]
  const methodLabel = knownLabel(METHODS)
  const classLabel = knownLabel(STATUS_CLASSES)
  const routeLabel = cappedLabel(MAX_ROUTES)
  const requestSeconds = new Histogram({
    name: 'polyphony_http_request_duration_seconds',
    help: 'Duration of HTTP requests, by the pattern of their route.',
    labelNames: ['method', 'route', 'status_class'],
    buckets: REQUEST_SECONDS,
    registers,
  })
  const sockets = new Gauge({ name: 'polyphony_open_sockets', help: 'WebSockets that are open now.', registers })
  const subscriptions = new Gauge({
    name: 'polyphony_subscriptions',
    help: 'Subscriptions to flows that are open now, over sockets and event streams.',
    registers,
  })
  return {
    httpRequest({ method, route, status, seconds }: HttpRequestFacts) {
      const statusClass = classLabel(`${Math.floor(status / 100)}xx`)
      const labels = {
        method: methodLabel(method),
        route: route === undefined ? OTHER : routeLabel(route),
        status_class: statusClass,
      }
      requestSeconds.observe(labels, seconds)
    },
    openSockets: (count: number) => sockets.set(count),
    subscriptions: (count: number) => subscriptions.set(count),
  }
}
