import type { AttemptContext, CallContext, CallProgress } from './call.ts'

const newProgress = (): CallProgress => ({ attempts: 0, textDelivered: false, targetsLeft: 0, endsAtMs: undefined })

type Complete = { readonly [Key in keyof Required<AttemptContext>]: AttemptContext[Key] }

/** The context of a new call, or a copy of a running call's context with another signal. */
export function toAttemptContext(context: CallContext | AttemptContext, signal: AbortSignal = context.signal): AttemptContext {
  // Every key is written out: a spread that adds keys costs five times the memory, and every call builds this object.
  const complete: Complete = {
    signal,
    abort: context.abort,
    timeoutMs: context.timeoutMs,
    firstChunkTimeoutMs: context.firstChunkTimeoutMs,
    idleTimeoutMs: context.idleTimeoutMs,
    maxRetries: context.maxRetries,
    restartAfterFirstToken: context.restartAfterFirstToken,
    complete: context.complete,
    budget: context.budget,
    sharedBudgets: context.sharedBudgets,
    answerCaching: context.answerCaching,
    onDelta: context.onDelta,
    onReasoning: context.onReasoning,
    beforeRepeat: context.beforeRepeat,
    announcesFirst: context.announcesFirst,
    onRetry: context.onRetry,
    onAttempt: context.onAttempt,
    onActivity: 'onActivity' in context ? context.onActivity : undefined,
    engineMaxTokens: 'engineMaxTokens' in context ? context.engineMaxTokens : undefined,
    queueLimit: 'queueLimit' in context ? context.queueLimit : undefined,
    progress: 'progress' in context ? context.progress : newProgress(),
  }
  return complete
}
