/** One budget of one subject in one window. */
export interface BudgetKey {
  readonly name: string
  readonly subject: string
  readonly windowStart: Date
}

/** A key with the maxima of the configuration; they are not stored, so that raising one takes effect at once. */
export interface BudgetCap extends BudgetKey {
  /** Billionths of a US dollar. */
  readonly maxCostNanoUsd?: number
  readonly maxTokens?: number
  readonly maxFlows?: number
}

/** What is spent and reserved under a key. Costs are whole billionths of a US dollar, so that sums are exact. */
export interface BudgetUsage extends BudgetKey {
  readonly costNanoUsd: number
  readonly tokens: number
  readonly flows: number
  readonly reservedNanoUsd: number
  readonly reservedTokens: number
}

export interface BudgetReservation {
  readonly id: string
  /** The process that settles the reservation. */
  readonly ownerId: string
  readonly caps: readonly BudgetCap[]
  readonly costNanoUsd: number
  readonly tokens: number
  /** Flows to count; they are spent at once, not reserved. */
  readonly flows: number
}

export interface BudgetSettlement {
  /** Id of the reservation. */
  readonly id: string
  readonly costNanoUsd: number
  readonly tokens: number
  /**
   * The claim under which the attempt was made. If another owner has claimed the flow since, nothing counts as spent,
   * unless that was to cancel it: its calls were paid for and are not repeated.
   */
  readonly flow?: { readonly flowId: string; readonly epoch: number }
}

/** Spending over many flows and processes. */
export interface BudgetRepository {
  /**
   * Reserves the amounts under all keys, or under none if one of them would exceed its maximum. An amount of 0 always
   * fits. `usage` is the state before, one entry per cap in their order. Called before every attempt to which a budget
   * applies, in one statement. Concurrent reservations, in any process, never exceed a maximum together. A reservation
   * whose id is already reserved is granted and reserves nothing more, so a call whose answer was lost can be repeated.
   */
  reserve(reservation: BudgetReservation): Promise<{ readonly granted: boolean; readonly usage: readonly BudgetUsage[] }>
  /**
   * Replaces reservations by what was spent. A reservation that is unknown, already settled or released changes
   * nothing. Called after every attempt.
   */
  settle(settlements: readonly BudgetSettlement[]): Promise<void>
  /** Takes back a flow that was counted and then not started. */
  withdrawFlow(keys: readonly BudgetKey[]): Promise<void>
  /**
   * Gives back the reservations of owners that are not registered or sent no heartbeat for `staleMs`. Resolves with
   * their number. Called when a reservation does not fit, and by a timer.
   */
  release(staleMs: number): Promise<number>
  /** The usage of windows that began at one of the instants, of all names and subjects or of one subject. */
  list(windowStarts: readonly Date[], subject?: string): Promise<readonly BudgetUsage[]>
  /** Removes windows that began before the instant and resolves with their number. Called by a timer. */
  prune(startedBefore: Date): Promise<number>
}

/** Rates of one provider account; no limit where a rate is absent. */
export interface SharedRateLimits {
  readonly maxConcurrency?: number
  readonly tokensPerMinute?: number
}

/** A request for slots in the schedule of one provider account. */
export interface RateSlots {
  readonly account: string
  /** The process that sends the requests; its slots end when its heartbeat does. */
  readonly ownerId: string
  /** Milliseconds between two requests; 0: no rate. */
  readonly intervalMs: number
  readonly limits: SharedRateLimits
  /** One entry per wanted slot, with the tokens that its request may use. */
  readonly slots: readonly { readonly id: string; readonly tokens: number }[]
}

/** The schedules of provider accounts over all processes, on the clock of the database. */
export interface ProviderRateRepository {
  /**
   * Takes the first so many of the wanted slots as `maxConcurrency` leaves, none while the account is closed. The first
   * is due in `waitMs`, each further one an interval later; slots of all processes lie an interval apart. A bucket of
   * one minute of tokens delays them further; if by more than a second, none is taken, and `waitMs` says when to ask
   * again.
   */
  take(request: RateSlots): Promise<{ readonly granted: number; readonly waitMs: number; readonly closedForMs: number }>
  /** Ends slots, and gives back tokens that were not used. Unknown slots change nothing. */
  leave(account: string, limits: SharedRateLimits, ids: readonly string[], unusedTokens: number): Promise<void>
  /** Closes the account for so many milliseconds; a longer closure stays. */
  close(account: string, forMs: number): Promise<void>
  /** Milliseconds for which accounts are still closed. */
  closures(): Promise<ReadonlyMap<string, number>>
  /** Ends the slots of owners that are not registered or sent no heartbeat for `staleMs`. */
  releaseSlots(staleMs: number): Promise<void>
}

/** Requests to the server by key, user or address, over all servers that share the database. */
export interface RequestCountRepository {
  /**
   * Counts one request and resolves with the number in the current window, this one included, and the milliseconds
   * until it ends. The first request begins a window of `windowMs`. Called with every request to the server.
   */
  count(key: string, windowMs: number): Promise<{ readonly count: number; readonly leftMs: number }>
  /** Removes windows that have ended and resolves with their number. Called by a timer. */
  prune(): Promise<number>
}
