import type { Clock, StopTimer } from '../async/clock.ts'
import { linkSignal } from '../async/until-aborted.ts'
import { callFactsOf, withCallFacts } from '../domain/execution/call-facts.ts'
import { OrchestratorError } from '../errors/orchestrator-error.ts'
import { toAttemptContext } from './attempt-context.ts'
import type { AttemptCall, AttemptContext, CallLayer, CallRequest, CallResponse, PreparedRequest } from './call.ts'

type WholeCall = (request: CallRequest, context: AttemptContext) => Promise<CallResponse>

/** Bounds one whole call, waits included. Aborts it with STEP_TIMEOUT, which also ends its requests. */
export const totalTimeout = (clock: Clock, next: WholeCall): WholeCall => {
  return (request, context) =>
    context.timeoutMs === undefined ? next(request, context) : within(context.timeoutMs, request, context)

  function within(timeoutMs: number, request: CallRequest, context: AttemptContext): Promise<CallResponse> {
    const controller = context.abort ?? new AbortController()
    const unlink = context.abort ? undefined : linkSignal(context.signal, controller)
    const stopTimer = clock.startTimer(timeoutMs, () => {
      const message = `Expected an answer within ${timeoutMs} ms, waits and retries included; there was none`
      controller.abort(new OrchestratorError('STEP_TIMEOUT', message, { details: { timeoutMs } }))
    })
    const done = () => {
      stopTimer()
      unlink?.()
    }
    const bounded = unlink ? toAttemptContext(context, controller.signal) : context
    bounded.progress.endsAtMs = clock.now() + timeoutMs
    return next(request, bounded).then(
      (response) => {
        done()
        return response
      },
      (error) => {
        done()
        throw error
      },
    )
  }
}

/** Fails a streamed attempt with PROVIDER_UNAVAILABLE if its first chunk, or the next one, comes too late. */
export const streamTimeout = (clock: Clock): CallLayer => {
  return (next) => (request, context) => {
    const { onDelta, firstChunkTimeoutMs, idleTimeoutMs } = context
    const bounded = onDelta !== undefined && (firstChunkTimeoutMs !== undefined || idleTimeoutMs !== undefined)
    return bounded ? attemptWithTimeouts(next, request, context, clock) : next(request, context)
  }
}

async function attemptWithTimeouts(
  next: AttemptCall,
  request: PreparedRequest,
  context: AttemptContext,
  clock: Clock,
): Promise<CallResponse> {
  const {
    firstChunkTimeoutMs = Number.POSITIVE_INFINITY,
    idleTimeoutMs = Number.POSITIVE_INFINITY,
    onDelta,
    onActivity,
  } = context
  const controller = new AbortController()
  const unlink = linkSignal(context.signal, controller)
  const startedAt = clock.now()
  let lastActivity: number | undefined
  let stopTimer: StopTimer | undefined

  const giveUp = (timeout: 'first_chunk' | 'idle', timeoutMs: number) => {
    const { provider, model } = request
    const message = `Expected a chunk of the answer of ${provider}/${model} within ${timeoutMs} ms (${timeout}); none arrived`
    controller.abort(new OrchestratorError('PROVIDER_UNAVAILABLE', message, { details: { timeout, timeoutMs, provider, model } }))
  }
  // A chunk only records its time, which is cheaper than a timer per chunk. The timer runs at least once per idle
  // timeout, so that no deadline is missed.
  const check = () => {
    const now = clock.now()
    const deadline = lastActivity === undefined ? startedAt + firstChunkTimeoutMs : lastActivity + idleTimeoutMs
    const nextCheck = Math.min(deadline, now + idleTimeoutMs)
    if (deadline > now) {
      if (Number.isFinite(nextCheck)) stopTimer = clock.startTimer(nextCheck - now, check)
    } else if (lastActivity === undefined) giveUp('first_chunk', firstChunkTimeoutMs)
    else giveUp('idle', idleTimeoutMs)
  }

  check()
  try {
    return await next(request, {
      ...context,
      signal: controller.signal,
      onActivity: () => {
        lastActivity = clock.now()
        onActivity?.()
      },
      onDelta: (text) => {
        lastActivity = clock.now()
        onDelta?.(text)
      },
    })
  } catch (error) {
    // A provider attaches the facts of an aborted call to the signal it was given.
    if (controller.signal.aborted) withCallFacts(context.signal, callFactsOf(controller.signal))
    throw error
  } finally {
    stopTimer?.()
    unlink()
  }
}
