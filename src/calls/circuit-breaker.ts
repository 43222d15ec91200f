import type { Clock } from '../async/clock.ts'
import { withCallFacts } from '../domain/execution/call-facts.ts'
import { OrchestratorError } from '../errors/orchestrator-error.ts'
import type { FindStanding } from './balance/standing.ts'
import type { AttemptContext, CallLayer, PreparedRequest } from './call.ts'
import { wasNeverConnected } from './never-connected.ts'
import { accountOf } from './rates/account-name.ts'

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
 * Every run of a service has circuits of its own, so that one that was started again is called at once.
 */
export const circuitBreaker = (settings: CircuitBreakerSettings, clock: Clock, standing?: FindStanding): CallLayer => {
  const providers = createCircuits(settings, clock)
  const models = createCircuits(settings, clock)

  const namesOf = (request: PreparedRequest): Names => {
    const found = standing?.(request.provider)
    const account = found ? `${accountOf(request)} (run ${found.run})` : accountOf(request)
    return { account, model: found ? `${account}/${request.model}` : modelOf(request) }
  }

  const enter = ({ provider }: PreparedRequest, { account, model }: Names): readonly Circuit[] => {
    if (providers.isEmpty() && models.isEmpty()) return NONE
    const ofProvider = providers.enter(account, provider)
    try {
      const ofModel = models.enter(model, provider)
      return [ofProvider, ofModel].filter((circuit) => circuit !== undefined)
    } catch (error) {
      if (ofProvider) ofProvider.probing = false
      throw error
    }
  }

  const answered = ({ account, model }: Names) => {
    if (!providers.isEmpty()) providers.answered(account)
    if (!models.isEmpty()) models.answered(model)
  }

  const settle = (request: PreparedRequest, names: Names, { signal }: AttemptContext, error: unknown) => {
    // An abort says nothing about the provider, unless the provider was silent for its whole share of the time.
    if (signal.aborted && !isShareTimeout(signal.reason, request)) return
    const ending: unknown = signal.aborted ? signal.reason : error
    if (!OrchestratorError.is(ending) || ending.code !== 'PROVIDER_UNAVAILABLE') answered(names)
    // A service that does not run yet has not failed.
    else if (ending.details.notSent === true) return
    else if (wasNeverConnected(ending)) providers.failed(names.account)
    else {
      providers.answered(names.account)
      models.failed(names.model)
    }
  }

  return (next) => (request, context) => {
    const names = namesOf(request)
    let probed: readonly Circuit[]
    try {
      probed = enter(request, names)
    } catch (error) {
      return Promise.reject(error)
    }
    return next(request, context).then(
      (response) => {
        for (const circuit of probed) circuit.probing = false
        answered(names)
        return response
      },
      (error) => {
        for (const circuit of probed) circuit.probing = false
        settle(request, names, context, error)
        throw error
      },
    )
  }
}

const NONE: readonly Circuit[] = []

/** Names of the circuits of a call. */
interface Names {
  readonly account: string
  readonly model: string
}

const modelOf = (request: PreparedRequest): string => `${accountOf(request)}/${request.model}`

/** Compares the model too: a failed sibling step aborts this call with its own error. */
const isShareTimeout = (reason: unknown, { provider, model }: PreparedRequest): boolean =>
  OrchestratorError.is(reason) &&
  reason.details.timeout === 'share' &&
  reason.details.provider === provider &&
  reason.details.model === model
