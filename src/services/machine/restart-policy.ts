/** When a service that ended is started again. */
export interface RestartPolicy {
  /** `failure`: after every end that was no success. `always`: after every end but a stop. `never`: after no end. */
  readonly when: 'failure' | 'always' | 'never'
  /** Failures in a row after which the service is given up; 0 gives it up at the first. */
  readonly maxRetries: number
  /** Milliseconds before the first restart; doubles with every further failure. */
  readonly delayMs: number
  /** Upper bound on those milliseconds. */
  readonly maxDelayMs: number
  /** Milliseconds in state `running` after which earlier failures no longer count. */
  readonly resetAfterMs: number
}

/** A service that has run for long was healthy, so it comes back soon. */
const SOON_MS = 1_000
/** Services that failed at one instant must not all start at one instant again. */
const JITTER = 0.2
/** Doubling without end would reach infinity, which a delay of 0 turns into no number. */
const MAX_DOUBLINGS = 30

/**
 * Milliseconds before restart number `attempt`, from 1, of a service that ran for `ranMs`; `undefined` if it is given
 * up. `random` is from 0 up to 1.
 */
export function restartDelay(policy: RestartPolicy, attempt: number, ranMs: number, random: number): number | undefined {
  if (policy.when === 'never' || attempt > policy.maxRetries) return undefined
  const longMs = Math.min(policy.delayMs * 2 ** Math.min(attempt - 1, MAX_DOUBLINGS), policy.maxDelayMs)
  const baseMs = ranMs >= policy.resetAfterMs ? Math.min(SOON_MS, longMs) : longMs
  return Math.round(baseMs * (1 - JITTER + 2 * JITTER * random))
}
