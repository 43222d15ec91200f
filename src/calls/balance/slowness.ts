import type { Clock } from '../../async/clock.ts'
import type { Usage } from '../../domain/execution/usage.ts'
import { toTokens } from '../call-estimate.ts'

/** A failed call counts as one that took so many milliseconds, or as the slowest lately if that is more. */
const FAILURE_MS = 10_000
/** Shorter answers count as so many tokens, because most of their time does not depend on their length. */
const SHORTEST_TOKENS = 50

/**
 * Times of one kind of answer. Slower ones count at once, and faster ones little by little, so that a member that
 * becomes slow is left at once.
 */
function createPeakAverage(decayMs: number, clock: Clock) {
  let value: number | undefined
  let updatedAt = 0
  return {
    value: () => value,
    forget() {
      value = undefined
    },
    add(measured: number) {
      const now = clock.now()
      const kept = Math.exp(-(now - updatedAt) / decayMs)
      value = value === undefined || measured >= value ? measured : value * kept + measured * (1 - kept)
      updatedAt = now
    },
  }
}

/**
 * After a restart of a member the calls that begin within so many milliseconds, and in any case the first ones, are not
 * measured: a server that has just started, or that just had the load of another one, is slower than it will be, and a
 * slow member is asked too rarely to show that.
 */
const WARM_UP_MS = 5_000
const WARM_UP_CALLS = 3

/** The beginning of a call that may be measured. */
export interface Measurement {
  /** Times that everything was forgotten before it. */
  readonly restarts: number
  readonly isWarmUp: boolean
}

/** Measures how slow a member answers, apart for streamed and for whole answers. */
export function createSlowness(decayMs: number, clock: Clock) {
  const toFirstChunk = createPeakAverage(decayMs, clock)
  const perToken = createPeakAverage(decayMs, clock)
  let usualTokens = SHORTEST_TOKENS
  let restarts = 0
  let calls = 0
  let firstCallAt = 0

  return {
    of: (streamed: boolean): number | undefined => (streamed ? toFirstChunk : perToken).value(),
    firstChunk: (afterMs: number): void => toFirstChunk.add(afterMs),
    whole({ outputTokens }: Usage, text: string, lastedMs: number): void {
      usualTokens = Math.max(SHORTEST_TOKENS, outputTokens ?? toTokens(text.length))
      perToken.add(lastedMs / usualTokens)
    },
    begin(): Measurement {
      const now = clock.now()
      if (calls === 0) firstCallAt = now
      calls += 1
      const isWarmUp = restarts > 0 && (calls <= WARM_UP_CALLS || now - firstCallAt < WARM_UP_MS)
      return { restarts, isWarmUp }
    },
    /** Whether what the call shows is about the present. */
    counts: (measurement: Measurement): boolean => measurement.restarts === restarts && !measurement.isWarmUp,
    /** As if no call had been measured. Calls in flight are not measured, nor those of a new beginning. */
    forget(): void {
      restarts += 1
      calls = 0
      toFirstChunk.forget()
      perToken.forget()
    },
    failed(streamed: boolean): void {
      if (streamed) toFirstChunk.add(Math.max(FAILURE_MS, toFirstChunk.value() ?? 0))
      else perToken.add(Math.max(FAILURE_MS / usualTokens, perToken.value() ?? 0))
    },
  }
}

export type Slowness = ReturnType<typeof createSlowness>
