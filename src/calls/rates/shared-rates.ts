import type { Rates } from '../gate.ts'

/** A request for slots of one provider account. */
export interface SlotRequest {
  /** Id of the configured provider. */
  readonly account: string
  readonly rates: Rates
  /** One entry per slot that is wanted: a new id, and the tokens that its request may use. */
  readonly slots: readonly { readonly id: string; readonly tokens: number }[]
}

export interface SlotAnswer {
  /** The first so many of the wanted slots are granted; 0 while the account is closed or all its slots are taken. */
  readonly granted: number
  /**
   * Milliseconds until the first granted slot; each further one is due one interval of `requestsPerMinute` later. If
   * none is granted: until there may be enough tokens, 0 if tokens are not what is missing.
   */
  readonly waitMs: number
  /** Milliseconds for which the provider has asked for no requests; 0 if the account is open. */
  readonly closedForMs: number
}

/**
 * Rates of provider accounts over all processes, on the clock of the store. Implemented by
 * createProviderRateRepository. Every method rejects with DATABASE_UNAVAILABLE when the store does not answer.
 */
export interface SharedRates {
  /**
   * Takes slots of the schedule. Slots of `requestsPerMinute` lie an interval apart over all processes, so that the
   * rate holds in every second and not only in every minute. `tokensPerMinute` is a bucket that holds one minute.
   */
  take(request: SlotRequest): Promise<SlotAnswer>
  /**
   * Ends slots of `maxConcurrency`, and gives back tokens that were taken and not used; a negative number takes more.
   */
  leave(account: string, rates: Rates, ids: readonly string[], unusedTokens: number): Promise<void>
  /** Closes the account for all processes for so many milliseconds, or longer if it is closed for longer already. */
  close(account: string, forMs: number): Promise<void>
  /** Milliseconds for which accounts are still closed; open ones are left out. */
  closures(): Promise<ReadonlyMap<string, number>>
  /** Ends the slots of processes that send no heartbeat any more. Called when all slots of an account are taken. */
  releaseSlots(): Promise<void>
}

/** Milliseconds between two requests; 0 without a rate. Two percent are kept back for the inaccuracy of timers. */
export const intervalOf = ({ requestsPerMinute }: Rates): number =>
  requestsPerMinute === undefined ? 0 : (60_000 / requestsPerMinute) * 1.02
