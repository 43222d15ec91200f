import type { Clock } from '../async/clock.ts'
import { withCallFacts } from '../domain/execution/call-facts.ts'
import { OrchestratorError } from '../errors/orchestrator-error.ts'
import type { AttemptContext, CallLayer, PreparedRequest } from './call.ts'
import { wasNeverConnected } from './never-connected.ts'

export interface CircuitBreakerSettings {
  /** Failures in a row, over all flows, after which a model is left alone. Default 20: five branches with three retries each stay below. */
  readonly failureThreshold: number
  /** How long it is left alone before one call may probe it. Default 10,000. */
  readonly openMs: number
}

export const CIRCUIT_BREAKER_DEFAULTS: CircuitBreakerSettings = { failureThreshold: 20, openMs: 10_000 }

/** Model names come from flows, so what is kept by their name must not grow with them. */
const MAX_CIRCUITS = 1_000

interface Circuit {
  failures: number
  openUntil: number
  probing: boolean
}

/** Circuits of the names in one scope: providers, or models. */
function createCircuits({ failureThreshold, openMs }: CircuitBreakerSettings, clock: Clock) {
  // Holds only names whose last call failed.
  const circuits = new Map<string, Circuit>()

  const refused = (name: string, provider: string, retryAfterMs: number) => {
    const message = `Expected "${name}" to answer; it failed ${failureThreshold} times in a row and is left alone for ${retryAfterMs} ms`
    const error = new OrchestratorError('PROVIDER_UNAVAILABLE', message, { details: { provider, circuit: 'open', retryAfterMs } })
    return withCallFacts(error, { retryAfterMs, generated: false })
  }

  return {
    isEmpty: () => circuits.size === 0,
    /** Lets the call pass, or throws; returns the circuit where the call is the one that probes it. */
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
 * Leaves a model alone that is down, and a provider that cannot be reached at all: one model that fails says nothing of its neighbours, a refused
 * connection says it of all. Only PROVIDER_UNAVAILABLE counts: refusals and rate limits show that it lives. While open, calls fail with
 * PROVIDER_UNAVAILABLE (`details.circuit` is `open`) and are not sent; then one call probes, and its outcome decides.
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
    // Whoever gave up says nothing of the provider, except where it was silent for the whole share of its target.
    if (signal.aborted && !isSilence(signal.reason, request)) return
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

/** A failed sibling aborts with an error of its own, which names another model. */
const isSilence = (reason: unknown, { provider, model }: PreparedRequest): boolean =>
  OrchestratorError.is(reason) &&
  reason.details.timeout === 'share' &&
  reason.details.provider === provider &&
  reason.details.model === model
