import { type Clock, wait } from '../async/clock.ts'
import { untilAborted } from '../async/until-aborted.ts'
import { callFactsOf } from '../domain/execution/call-facts.ts'
import { ERROR_CODES } from '../errors/error-codes.ts'
import { OrchestratorError } from '../errors/orchestrator-error.ts'
import type { AttemptCall, AttemptContext, CallLayer, CallResponse, PreparedRequest } from './call.ts'

export interface RetrySettings {
  /** Upper bound on the first wait, doubled for each later one. Milliseconds, default 500. */
  readonly baseDelayMs: number
  /** Upper bound on every wait that the provider did not ask for. Milliseconds, default 30,000. */
  readonly maxDelayMs: number
  /** A request is not retried if its provider asks for a longer wait than this. Milliseconds, default 60,000. */
  readonly retryAfterCapMs: number
}

export const RETRY_DEFAULTS: RetrySettings = { baseDelayMs: 500, maxDelayMs: 30_000, retryAfterCapMs: 60_000 }

/**
 * The only layer that repeats a request. Waits with exponential backoff and full jitter, or as long as the provider
 * asked. After `maxRetries` the error of the last attempt is the outcome.
 */
export const retry = (settings: RetrySettings, clock: Clock): CallLayer => {
  return (next) => (request, context) => {
    if (context.maxRetries === 0) return next(request, context)
    // The first attempt is outside the loop: nearly all calls need only one, and the pending loop would cost memory.
    return next(request, context).catch((error) => repeat(error, next, request, context, settings, clock))
  }
}

/**
 * Starts every attempt but the first only after `beforeRepeat`, whether it repeats a request or goes to a fallback;
 * with `announcesFirst` the first one as well.
 */
export const announcedRepeats: CallLayer = (next) => (request, context) => {
  const { beforeRepeat, announcesFirst, progress, signal } = context
  if ((progress.attempts === 0 && !announcesFirst) || !beforeRepeat) return next(request, context)
  return untilAborted(beforeRepeat(request), signal).then(() => next(request, context))
}

async function repeat(
  failure: unknown,
  next: AttemptCall,
  request: PreparedRequest,
  context: AttemptContext,
  settings: RetrySettings,
  clock: Clock,
): Promise<CallResponse> {
  let error = failure
  for (let retries = 0; retries < context.maxRetries && mayRepeat(error, context); retries++) {
    const delayMs = delayBefore(error, retries, settings, clock)
    // A wait beyond the deadline would replace the provider's error with a timeout and use up the next target's time.
    if (delayMs === undefined || clock.now() + delayMs >= (context.progress.endsAtMs ?? Number.POSITIVE_INFINITY)) break
    notifyRetry(error, delayMs, request, context)
    await wait(clock, delayMs, context.signal)
    try {
      return await next(request, context)
    } catch (nextError) {
      error = nextError
    }
  }
  throw error
}

function notifyRetry(
  error: OrchestratorError,
  delayMs: number,
  { provider, model }: PreparedRequest,
  context: AttemptContext,
): void {
  const { progress, onRetry } = context
  onRetry?.({ attempt: progress.attempts, delayMs, error: error.toJSON(), provider, model, restart: progress.textDelivered })
  progress.textDelivered = false
}

function mayRepeat(error: unknown, { signal, progress, restartAfterFirstToken }: AttemptContext): error is OrchestratorError {
  if (signal.aborted || !OrchestratorError.is(error) || !error.retryable || !ERROR_CODES[error.code].retried) return false
  // Waiting for an open circuit makes sense only without a fallback.
  if (error.details.circuit === 'open' && progress.targetsLeft > 0) return false
  return !progress.textDelivered || restartAfterFirstToken
}

function delayBefore(error: unknown, retries: number, settings: RetrySettings, { random }: Clock): number | undefined {
  const { retryAfterMs } = callFactsOf(error)
  if (retryAfterMs === undefined) return Math.round(random() * Math.min(settings.maxDelayMs, settings.baseDelayMs * 2 ** retries))
  if (retryAfterMs > settings.retryAfterCapMs) return undefined
  // All rejected calls got the same wait. Without jitter they would all be repeated at once.
  return Math.round(Math.max(0, retryAfterMs) + random() * settings.baseDelayMs)
}
