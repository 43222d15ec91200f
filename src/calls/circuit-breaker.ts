import type { Clock } from '../async/clock.ts'
import { withCallFacts } from '../domain/execution/call-facts.ts'
import { OrchestratorError } from '../errors/orchestrator-error.ts'
import type { AttemptContext, CallLayer, PreparedRequest } from './call.ts'
import { wasNeverConnected } from './never-connected.ts'

export interface CircuitBreakerSettings {
  /**
   * Consecutive failures, over all flows, that open the circuit of a model.
   * Default 20, so that five branches with three retries each do not open it.
   */
  readonly failureThreshold: number
  /** Milliseconds that a circuit stays open before one call probes the model. Default 10,000. */
  readonly openMs: number
}

export const CIRCUIT_BREAKER_DEFAULTS: CircuitBreakerSettings = { failureThreshold: 20, openMs: 10_000 }

/** Limited, because the keys are model names, which come from flows. */
const MAX_CIRCUITS = 1_000

interface Circuit {
  failures: number
  openUntil: number
  probing: boolean
}

/** Circuits by name of a provider or of a model. */
function createCircuits({ failureThreshold, openMs }: CircuitBreakerSettings, clock: Clock) {
  // Holds only names whose last call failed.
  const circuits = new Map<string, Circuit>()

  const refused = (name: string, provider: string, retryAfterMs: number) => {
    const message = `Expected "${name}" to answer; it failed ${failureThreshold} times in a row and receives no requests for ${retryAfterMs} ms`
    const error = new OrchestratorError('PROVIDER_UNAVAILABLE', message, { details: { provider, circuit: 'open', retryAfterMs } })
    return withCallFacts(error, { retryAfterMs, generated: false })
  }

  return {
    isEmpty: () => circuits.size === 0,
    /** Throws while the circuit is open. Returns the circuit if this call is its probe. */
    enter(name: string, provider: string): Circuit | undefined {
      const circuit = circuits.get(name)
      if (circuit === undefined || circuit.failures < failureThreshold) return undefined
      const leftMs = circuit.openUntil - clock.now()
      if (leftMs > 0) throw refused(name, provider, leftMs)
      if (circuit.probing) throw refused(name, provider, Math.min(openMs, 1_000))
      circuit.probing = true
      return circuit
    },
    failed(name: string) {
      const circuit = circuits.get(name) ?? { failures: 0, openUntil: 0, probing: false }
      circuit.failures += 1
      if (circuit.failures >= failureThreshold) circuit.openUntil = clock.now() + openMs
      circuits.delete(name)
      circuits.set(name, circuit)
      const [oldest] = circuits.keys()
      if (circuits.size > MAX_CIRCUITS && oldest !== undefined) circuits.delete(oldest)
    },
    answered: (name: string) => circuits.delete(name),
  }
}

/**
 * Sends no requests to a model that is down, or to a provider that cannot be reached. A failing model opens only its
 * own circuit; a connection that could not be made opens that of the provider. Only PROVIDER_UNAVAILABLE counts,
 * because rejections and rate limits show that the provider is up. While a circuit is open, calls fail at once with
 * PROVIDER_UNAVAILABLE (`details.circuit` is `open`). Afterwards the outcome of one probing call closes or reopens it.
 */
export const circuitBreaker = (settings: CircuitBreakerSettings, clock: Clock): CallLayer => {
  const providers = createCircuits(settings, clock)
  const models = createCircuits(settings, clock)

  const enter = ({ provider, model }: PreparedRequest): readonly Circuit[] => {
    if (providers.isEmpty() && models.isEmpty()) return NONE
    const ofProvider = providers.enter(provider, provider)
    try {
      const ofModel = models.enter(`${provider}/${model}`, provider)
      return [ofProvider, ofModel].filter((circuit) => circuit !== undefined)
    } catch (error) {
      if (ofProvider) ofProvider.probing = false
      throw error
    }
  }

  const answered = ({ provider, model }: PreparedRequest) => {
    if (!providers.isEmpty()) providers.answered(provider)
    if (!models.isEmpty()) models.answered(`${provider}/${model}`)
  }

  const settle = (request: PreparedRequest, { signal }: AttemptContext, error: unknown) => {
    // An abort says nothing about the provider, unless the provider was silent for its whole share of the time.
    if (signal.aborted && !isShareTimeout(signal.reason, request)) return
    const ending: unknown = signal.aborted ? signal.reason : error
    if (!OrchestratorError.is(ending) || ending.code !== 'PROVIDER_UNAVAILABLE') answered(request)
    else if (wasNeverConnected(ending)) providers.failed(request.provider)
    else {
      providers.answered(request.provider)
      models.failed(`${request.provider}/${request.model}`)
    }
  }

  return (next) => (request, context) => {
    let probed: readonly Circuit[]
    try {
      probed = enter(request)
    } catch (error) {
      return Promise.reject(error)
    }
    return next(request, context).then(
      (response) => {
        for (const circuit of probed) circuit.probing = false
        answered(request)
        return response
      },
      (error) => {
        for (const circuit of probed) circuit.probing = false
        settle(request, context, error)
        throw error
      },
    )
  }
}

const NONE: readonly Circuit[] = []

/** Compares the model too: a failed sibling step aborts this call with its own error. */
const isShareTimeout = (reason: unknown, { provider, model }: PreparedRequest): boolean =>
  OrchestratorError.is(reason) &&
  reason.details.timeout === 'share' &&
  reason.details.provider === provider &&
  reason.details.model === model
