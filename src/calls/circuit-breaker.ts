import { withCallFacts } from '../domain/call-facts.ts'
import { OrchestratorError } from '../errors/orchestrator-error.ts'
import type { CallLayer } from './call.ts'
import type { Clock } from './clock.ts'

export interface CircuitBreakerSettings {
  /** Failures in a row, over all flows, after which a provider is left alone. Default 20: five branches with three retries each stay below. */
  readonly failureThreshold: number
  /** How long it is left alone before one call may probe it. Default 10,000. */
  readonly openMs: number
}

export const CIRCUIT_BREAKER_DEFAULTS: CircuitBreakerSettings = { failureThreshold: 20, openMs: 10_000 }

interface Circuit {
  failures: number
  openUntil: number
  probing: boolean
}

/**
 * Leaves a provider alone that is down. Only PROVIDER_UNAVAILABLE counts: refusals and rate limits show that it lives. While open, calls
 * fail with PROVIDER_UNAVAILABLE (`details.circuit` is `open`) and are not sent; then one call probes, and its outcome decides.
 */
export const circuitBreaker = ({ failureThreshold, openMs }: CircuitBreakerSettings, clock: Clock): CallLayer => {
  // Holds only providers whose last call failed, so it stays as small as the configuration.
  const circuits = new Map<string, Circuit>()

  const refused = (provider: string, retryAfterMs: number) => {
    const message = `Expected provider "${provider}" to answer; it failed ${failureThreshold} times in a row and is left alone for ${retryAfterMs} ms`
    const error = new OrchestratorError('PROVIDER_UNAVAILABLE', message, { details: { provider, circuit: 'open', retryAfterMs } })
    return withCallFacts(error, { retryAfterMs, generated: false })
  }

  const failed = (provider: string) => {
    const circuit = circuits.get(provider) ?? { failures: 0, openUntil: 0, probing: false }
    circuit.failures += 1
    if (circuit.failures >= failureThreshold) circuit.openUntil = clock.now() + openMs
    circuits.set(provider, circuit)
  }

  /** Lets the call pass, or throws; true where it is the one that probes. */
  const enter = (provider: string): boolean => {
    const circuit = circuits.get(provider)
    if (circuit === undefined || circuit.failures < failureThreshold) return false
    const leftMs = circuit.openUntil - clock.now()
    if (leftMs > 0) throw refused(provider, leftMs)
    if (circuit.probing) throw refused(provider, Math.min(openMs, 1_000))
    circuit.probing = true
    return true
  }

  const settle = (provider: string, probes: boolean, error: unknown, aborted: boolean) => {
    const circuit = circuits.get(provider)
    if (probes && circuit) circuit.probing = false
    if (aborted) return
    if (OrchestratorError.is(error) && error.code === 'PROVIDER_UNAVAILABLE') failed(provider)
    else circuits.delete(provider)
  }

  return (next) => (request, context) => {
    const { provider } = request
    let probes: boolean
    try {
      probes = enter(provider)
    } catch (error) {
      return Promise.reject(error)
    }
    return next(request, context).then(
      (response) => {
        settle(provider, probes, undefined, false)
        return response
      },
      (error) => {
        settle(provider, probes, error, context.signal.aborted)
        throw error
      },
    )
  }
}
