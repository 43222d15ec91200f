import type { Clock } from '../async/clock.ts'
import { untilAborted } from '../async/until-aborted.ts'
import { isBlank } from '../domain/blank-text.ts'
import { type CallFacts, callFactsOf } from '../domain/execution/call-facts.ts'
import type { PricedAnswer } from '../domain/execution/model-call.ts'
import type { Attempt } from '../domain/execution/step-result.ts'
import { type Cost, UNKNOWN_USAGE, type Usage } from '../domain/execution/usage.ts'
import { ERROR_CODES } from '../errors/error-codes.ts'
import { OrchestratorError } from '../errors/orchestrator-error.ts'
import type { AttemptContext, CallLayer, CallResponse, PreparedRequest } from './call.ts'
import { estimatedInputTokens, toTokens } from './call-estimate.ts'
import { unusable } from './usable-answer.ts'

export interface LedgerDeps {
  /**
   * Cost of one attempt; `undefined` if the price is unknown. Called once per attempt that has a usage and no cost of
   * the provider. Should answer without a promise once the price list is loaded. Implemented by `createPriceBook`.
   */
  readonly price: (provider: string, answer: PricedAnswer, usage: Usage) => Promise<Cost | undefined> | Cost | undefined
  /**
   * Whether the simulator stands in for a provider. Called for attempts without an answer. Implemented by createModels.
   */
  readonly isSimulated?: (provider: string) => boolean
}

/** The outcome of one attempt before it is priced. */
type Outcome = Pick<Attempt, 'model' | 'usage' | 'error' | 'simulated'> &
  Partial<Pick<CallResponse, 'providerCostUsd' | 'serviceTier'>>

type KnownCost = Omit<Cost, 'estimated'>
type PendingCost = KnownCost | undefined | Promise<KnownCost | undefined>

/** Milliseconds for which the caller of an aborted attempt waits for its price. */
const PRICE_GRACE_MS = 50

/**
 * Passes one ledger row to `onAttempt` for every attempt that was sent, also for failed and aborted ones, before the
 * attempt settles.
 */
export const attemptLedger = ({ price, isSimulated }: LedgerDeps, clock: Clock): CallLayer => {
  const costOf = (request: PreparedRequest, outcome: Outcome, signal: AbortSignal): PendingCost => {
    const { model, usage, providerCostUsd, serviceTier } = outcome
    if (providerCostUsd !== undefined) return { costUsd: providerCostUsd, source: 'provider' }
    if (!usage) return undefined
    try {
      const cost = price(request.provider, { model, requestedModel: request.model, serviceTier }, usage)
      return cost instanceof Promise ? costWithinGrace(cost, signal, clock) : cost
    } catch {
      return undefined
    }
  }

  const answered = (attempt: RunningAttempt, request: PreparedRequest, context: AttemptContext, response: CallResponse) => {
    const executionTime = end(attempt, clock)
    const cost = costOf(request, response, context.signal)
    const failure = unusable(response, request, context)
    const outcome = failure ? { ...response, error: failure.toJSON() } : response
    const recordAndReturn = (known: KnownCost | undefined): CallResponse => {
      record(attempt, request, context, outcome, known, executionTime, false)
      if (context.signal.aborted) throw context.signal.reason
      if (failure) throw failure
      return response
    }
    return cost instanceof Promise ? cost.then(recordAndReturn) : recordAndReturn(cost)
  }

  const failed = async (
    attempt: RunningAttempt,
    request: PreparedRequest,
    context: AttemptContext,
    error: unknown,
  ): Promise<never> => {
    const executionTime = end(attempt, clock)
    const { signal } = context
    const aborted = signal.aborted || isTimeout(error)
    // Many calls may share the reason of an abort, so the facts of this call are attached to its own signal.
    const facts = callFactsOf(error === signal.reason ? signal : error)
    const outcome = {
      model: facts.model ?? request.model,
      usage: usageOfFailure(request, error, facts, attempt.deliveredCharacters, aborted),
      error: OrchestratorError.from(error, aborted ? 'FLOW_CANCELLED' : 'STEP_FAILED').toJSON(),
      simulated: isSimulated?.(request.provider) ?? false,
    }
    record(attempt, request, context, outcome, await costOf(request, outcome, signal), executionTime, aborted)
    throw signal.aborted ? signal.reason : error
  }

  return (next) => (request, context) => {
    const { progress, signal, onDelta, onReasoning } = context
    if (signal.aborted) return Promise.reject(signal.reason)
    const attempt: RunningAttempt = {
      number: ++progress.attempts,
      startedAtMs: clock.now(),
      deliveredCharacters: 0,
      heldBack: '',
      ended: false,
    }
    const attemptContext = onDelta
      ? {
          ...context,
          onDelta: deliverer(attempt, context, onDelta),
          onReasoning: onReasoning && reasoningDeliverer(attempt, onReasoning),
        }
      : context
    return next(request, attemptContext).then(
      (response) => answered(attempt, request, context, response),
      (error) => failed(attempt, request, context, error),
    )
  }
}

interface RunningAttempt {
  readonly number: number
  readonly startedAtMs: number
  deliveredCharacters: number
  /** White space before the first visible character. */
  heldBack: string
  ended: boolean
}

function end(attempt: RunningAttempt, clock: Clock): number {
  attempt.ended = true
  return clock.now() - attempt.startedAtMs
}

/** Drops text of an ended attempt: a provider that ignores its signal must not add text to the next attempt. */
const deliverer =
  (attempt: RunningAttempt, { progress }: AttemptContext, onDelta: (text: string) => void) =>
  (text: string): void => {
    if (attempt.ended || text === '') return
    attempt.deliveredCharacters += text.length
    // An answer of white space alone fails and is retried, so its text is held back until a visible character arrives.
    if (!progress.textDelivered && isBlank(text)) {
      attempt.heldBack += text
      return
    }
    progress.textDelivered = true
    onDelta(attempt.heldBack === '' ? text : attempt.heldBack + text)
    attempt.heldBack = ''
  }

const reasoningDeliverer =
  (attempt: RunningAttempt, onReasoning: (text: string) => void) =>
  (text: string): void => {
    if (!attempt.ended && text !== '') onReasoning(text)
  }

function record(
  { number, startedAtMs }: RunningAttempt,
  { provider }: PreparedRequest,
  { onAttempt }: AttemptContext,
  outcome: Outcome,
  cost: KnownCost | undefined,
  executionTime: number,
  aborted: boolean,
): void {
  onAttempt({
    number,
    provider,
    model: outcome.model,
    startedAt: new Date(startedAtMs),
    executionTime,
    usage: outcome.usage,
    cost: cost?.costUsd,
    costSource: cost?.source,
    pricesDate: cost?.pricesDate,
    error: outcome.error,
    aborted,
    simulated: outcome.simulated,
  })
}

/**
 * Pricing must not fail or delay an answer: if the price list fails, or is late after an abort, the cost is unknown.
 */
async function costWithinGrace(cost: Promise<Cost | undefined>, signal: AbortSignal, clock: Clock): Promise<Cost | undefined> {
  try {
    if (!signal.aborted) return await untilAborted(cost, signal)
    let stopTimer = () => {}
    const grace = new Promise<undefined>((resolve) => {
      stopTimer = clock.startTimer(PRICE_GRACE_MS, () => resolve(undefined))
    })
    return await Promise.race([cost, grace]).finally(() => stopTimer())
  } catch {
    return undefined
  }
}

/** Replayed requests reject with a timeout that no signal reports. */
const isTimeout = (error: unknown): boolean =>
  OrchestratorError.is(error) && (error.code === 'STEP_TIMEOUT' || error.details.timeout !== undefined)

function usageOfFailure(
  request: PreparedRequest,
  error: unknown,
  facts: CallFacts,
  deliveredCharacters: number,
  aborted: boolean,
): Usage | undefined {
  // A usage reported before the text broke off is the count at the start of the stream, not at its end.
  if (facts.usage && deliveredCharacters === 0) return facts.usage
  if (facts.generated || deliveredCharacters > 0) return estimatedUsage(request, facts.usage, deliveredCharacters)
  const mayBeBilled = aborted || (OrchestratorError.is(error) && ERROR_CODES[error.code].mayBeBilled === true)
  return mayBeBilled ? UNKNOWN_USAGE : undefined
}

function estimatedUsage(request: PreparedRequest, reported: Usage | undefined, deliveredCharacters: number): Usage {
  const inputTokens = reported?.inputTokens ?? estimatedInputTokens(request)
  const outputTokens = Math.max(reported?.outputTokens ?? 0, toTokens(deliveredCharacters))
  return { ...reported, inputTokens, outputTokens, totalTokens: inputTokens + outputTokens, source: 'estimated' }
}
