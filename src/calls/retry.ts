import { type Clock, wait } from '../async/clock.ts'
import { callFactsOf } from '../domain/execution/call-facts.ts'
import { ERROR_CODES } from '../errors/error-codes.ts'
import { OrchestratorError } from '../errors/orchestrator-error.ts'
import type { AttemptCall, AttemptContext, CallLayer, CallResponse, PreparedRequest } from './call.ts'

export interface RetrySettings {
  /** Upper bound of the first wait; doubles with every further one. Default 500. */
  readonly baseDelayMs: number
  /** Upper bound of any wait that the provider did not ask for. Default 30,000. */
  readonly maxDelayMs: number
  /** A provider that asks for a longer wait than this is not waited for. Default 60,000. */
  readonly retryAfterCapMs: number
}

export const RETRY_DEFAULTS: RetrySettings = { baseDelayMs: 500, maxDelayMs: 30_000, retryAfterCapMs: 60_000 }

/**
 * The only layer that repeats a request: waits with exponential backoff and full jitter, or as long as the provider asked.
 * Once `maxRetries` are used up, the error of the last try is the outcome.
 */
export const retry = (settings: RetrySettings, clock: Clock): CallLayer => {
  return (next) => (request, context) => {
    if (context.maxRetries === 0) return next(request, context)
    // The first try is no part of the loop: nearly all calls need no other, and wait lighter without it.
    return next(request, context).catch((error) => tryAgain(error, next, request, context, settings, clock))
  }
}

async function tryAgain(
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
    // Waiting for the end of the time would hide what the provider has said behind a timeout, and take the time of the next target.
    if (delayMs === undefined || clock.now() + delayMs >= (context.progress.endsAtMs ?? Number.POSITIVE_INFINITY)) break
    announce(error, delayMs, request, context)
    await wait(clock, delayMs, context.signal)
    try {
      return await next(request, context)
    } catch (again) {
      error = again
    }
  }
  throw error
}

function announce(
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
  // Waiting for an open circuit is only worth while when nobody else could answer.
  if (error.details.circuit === 'open' && progress.targetsLeft > 0) return false
  return !progress.textDelivered || restartAfterFirstToken
}

function delayBefore(error: unknown, retries: number, settings: RetrySettings, { random }: Clock): number | undefined {
  const { retryAfterMs } = callFactsOf(error)
  if (retryAfterMs === undefined) return Math.round(random() * Math.min(settings.maxDelayMs, settings.baseDelayMs * 2 ** retries))
  if (retryAfterMs > settings.retryAfterCapMs) return undefined
  // Everyone who was refused got the same figure: without jitter they would all come back at once.
  return Math.round(Math.max(0, retryAfterMs) + random() * settings.baseDelayMs)
}
