import type { Clock } from '../async/clock.ts'
import { linkSignal, untilAborted } from '../async/until-aborted.ts'
import type { Target } from '../domain/definition/flow-definition.ts'
import { ERROR_CODES } from '../errors/error-codes.ts'
import { OrchestratorError } from '../errors/orchestrator-error.ts'
import { toAttemptContext } from './attempt-context.ts'
import type { AttemptCall, AttemptContext, CallRequest, CallResponse, PreparedRequest } from './call.ts'

/**
 * Sends the request to one target after another until one answers. Falls back after text was delivered only if the call
 * allows a restart. A fallback that may not see the context of the step (DATA_SHARING_DENIED) is skipped, and the
 * outcome stays that of the last attempt. If the call has a timeout, every target but the last gets an equal share of
 * the remaining time.
 */
export const fallback = (next: AttemptCall, clock: Clock) => {
  return (request: CallRequest, context: AttemptContext): Promise<CallResponse> => {
    const [only] = request.targets
    if (!only || request.targets.length > 1) return inOrder(request, context)
    const prepared = request.prepare(only)
    if (!(prepared instanceof Promise)) return next(prepared, context)
    return untilAborted(prepared, context.signal).then((ready) => next(ready, context))
  }

  async function inOrder({ targets, prepare }: CallRequest, context: AttemptContext): Promise<CallResponse> {
    const { progress, signal } = context
    const notes: string[] = []
    let failure: OrchestratorError | undefined
    const endsAtMs = progress.endsAtMs
    progress.targetsLeft = targets.length
    for (const target of targets) {
      progress.targetsLeft -= 1
      const request = await prepared(prepare, target, signal, failure, notes)
      if (!request) continue
      if (failure) notifyFallback(failure, target, context)
      try {
        const response = await withinShare(next, request, context, endsAtMs, clock)
        return notes.length === 0 ? response : { ...response, notes: [...response.notes, ...notes] }
      } catch (error) {
        if (progress.targetsLeft === 0 || !fallsBack(error, context)) throw error
        failure = error
        notes.push(`${nameOf(target)} failed with ${error.code}; fell back`)
      }
    }
    throw failure ?? new OrchestratorError('INTERNAL', 'Expected a call to have at least one target, found none')
  }
}

/** Runs one target within its share of the time. The last target has all the remaining time. */
async function withinShare(
  next: AttemptCall,
  request: PreparedRequest,
  context: AttemptContext,
  endsAtMs: number | undefined,
  clock: Clock,
): Promise<CallResponse> {
  const { progress, signal, restartAfterFirstToken } = context
  progress.endsAtMs = endsAtMs
  if (endsAtMs === undefined || progress.targetsLeft === 0) return next(request, context)
  const now = clock.now()
  const shareMs = Math.max(0, Math.round((endsAtMs - now) / (progress.targetsLeft + 1)))
  const controller = new AbortController()
  const unlink = linkSignal(signal, controller)
  const stopTimer = clock.startTimer(shareMs, () => {
    // No fallback can come after delivered text, so the target may use the time of the later ones.
    if (progress.textDelivered && !restartAfterFirstToken) progress.endsAtMs = endsAtMs
    else controller.abort(shareExceeded(request, shareMs))
  })
  progress.endsAtMs = now + shareMs
  try {
    return await next(request, toAttemptContext(context, controller.signal))
  } finally {
    stopTimer()
    unlink()
    progress.endsAtMs = endsAtMs
  }
}

function shareExceeded({ provider, model }: PreparedRequest, timeoutMs: number): OrchestratorError {
  const message = `Expected ${provider}/${model} to answer within ${timeoutMs} ms, its share of the step timeout; no answer arrived`
  return new OrchestratorError('PROVIDER_UNAVAILABLE', message, { details: { timeout: 'share', timeoutMs, provider, model } })
}

async function prepared(
  prepare: CallRequest['prepare'],
  target: Target,
  signal: AbortSignal,
  failure: OrchestratorError | undefined,
  notes: string[],
): Promise<PreparedRequest | undefined> {
  try {
    const request = prepare(target)
    return request instanceof Promise ? await untilAborted(request, signal) : request
  } catch (error) {
    const isSkipped = failure && !signal.aborted && OrchestratorError.is(error) && error.code === 'DATA_SHARING_DENIED'
    if (!isSkipped) throw error
    notes.push(`${nameOf(target)} was skipped: DATA_SHARING_DENIED`)
    return undefined
  }
}

function fallsBack(error: unknown, { signal, progress, restartAfterFirstToken }: AttemptContext): error is OrchestratorError {
  if (signal.aborted || !OrchestratorError.is(error) || !ERROR_CODES[error.code].fallsBack) return false
  return !progress.textDelivered || restartAfterFirstToken
}

function notifyFallback(failure: OrchestratorError, { provider, model }: Target, { progress, onRetry }: AttemptContext): void {
  onRetry?.({
    attempt: progress.attempts,
    delayMs: 0,
    error: failure.toJSON(),
    provider,
    model,
    restart: progress.textDelivered,
  })
  progress.textDelivered = false
}

const nameOf = ({ provider, model }: Target): string => `${provider}/${model}`
