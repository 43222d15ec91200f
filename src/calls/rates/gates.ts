import type { Clock } from '../../async/clock.ts'
import { createGate, type Gate, type Rates } from '../gate.ts'
import { createSharedGate } from './shared-gate.ts'
import type { SharedRates } from './shared-rates.ts'

export interface GatesDeps {
  /**
   * Loads what the first request to a provider needs. A request that is sent late, after its slot, would lie closer to
   * the next ones than the rate allows. The attempt itself reports a failure.
   */
  readonly loadProvider?: (provider: string) => Promise<unknown>
  /** Present where the rates hold over all processes. */
  readonly sharedRates?: SharedRates
  /** Receives lines about a store of shared rates that does not answer. Implemented by the configured logger. */
  readonly warn?: (message: string, facts: Readonly<Record<string, unknown>>) => void
  /** Upper bound on the random wait after a pause, milliseconds. */
  readonly jitterMs: number
  readonly clock: Clock
}

/** The queues of all accounts of an instance: one per account, whatever its requests come from. */
export interface Gates {
  /** The queue of an account; a new one after its rates were changed. */
  of(account: string, provider: string, rates: Rates): Promise<Gate>
}

export function createGates({ loadProvider, sharedRates, warn = () => {}, jitterMs, clock }: GatesDeps): Gates {
  const known = new Map<string, { readonly rates: Rates; readonly gate: Promise<Gate> }>()

  const open = async (account: string, provider: string, rates: Rates): Promise<Gate> => {
    const [fallback] = await Promise.all([createGate(rates, clock), loadProvider?.(provider).catch(() => undefined)])
    if (!sharedRates) return fallback
    return createSharedGate({ account, rates, shared: sharedRates, fallback, clock, warn, jitterMs })
  }

  return {
    of(account, provider, rates) {
      const before = known.get(account)
      if (before && isEqual(before.rates, rates)) return before.gate
      const gate = open(account, provider, rates)
      known.set(account, { rates, gate })
      return gate
    },
  }
}

export const isLimited = ({ maxConcurrency, requestsPerMinute, tokensPerMinute }: Rates): boolean =>
  maxConcurrency !== undefined || requestsPerMinute !== undefined || tokensPerMinute !== undefined

const isEqual = (one: Rates, other: Rates): boolean =>
  one === other ||
  (one.maxConcurrency === other.maxConcurrency &&
    one.requestsPerMinute === other.requestsPerMinute &&
    one.tokensPerMinute === other.tokensPerMinute)
