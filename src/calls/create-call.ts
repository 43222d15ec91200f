import { type Clock, systemClock } from '../async/clock.ts'
import { untilAborted } from '../async/until-aborted.ts'
import type { PoolSettings } from '../config/pools/pool-settings.ts'
import type { ModelResponse } from '../domain/execution/model-call.ts'
import { plausibleUsage } from '../domain/execution/usage.ts'
import type { CallOrigin } from '../domain/tools/call-origin.ts'
import { OrchestratorError } from '../errors/orchestrator-error.ts'
import { type AnswerCacheDeps, answerCache } from './answers/answer-cache.ts'
import { sharedBeginnings } from './answers/shared-beginning.ts'
import { toAttemptContext } from './attempt-context.ts'
import { attemptLedger, type LedgerDeps } from './attempt-ledger.ts'
import { balance } from './balance/balance.ts'
import { keyGroups, poolGroups } from './balance/groups.ts'
import { withPools } from './balance/pool-request.ts'
import type { FindStanding } from './balance/standing.ts'
import type { AttemptCall, AttemptContext, Call, CallLayer, CallResponse, PreparedRequest } from './call.ts'
import { CIRCUIT_BREAKER_DEFAULTS, type CircuitBreakerSettings, circuitBreaker } from './circuit-breaker.ts'
import { fallback } from './fallback.ts'
import { limits, type WorstCaseUsd } from './limits.ts'
import { observedCall } from './observed-call.ts'
import { type RateLimitDeps, rateLimit } from './rate-limit.ts'
import { announcedRepeats, RETRY_DEFAULTS, type RetrySettings, retry } from './retry.ts'
import { streamTimeout, totalTimeout } from './timeout.ts'
import { cutNote } from './usable-answer.ts'

/** Options of one attempt, passed to `Provider.generate`. */
export interface AttemptOptions {
  readonly signal: AbortSignal
  readonly onDelta?: (text: string) => void
  readonly onReasoning?: (text: string) => void
  readonly onVoid?: () => void
  readonly onActivity?: () => void
  readonly account?: number
  readonly origin?: CallOrigin
}

export interface CallDeps extends LedgerDeps, Pick<RateLimitDeps, 'ratesOf' | 'loadProvider' | 'sharedRates' | 'warn' | 'gates'> {
  /** Sends one request to one provider. Must meet the contract of `Provider.generate`. */
  readonly attempt: (request: PreparedRequest, options: AttemptOptions) => Promise<ModelResponse>
  /** Implemented by createPriceBook. */
  readonly worstCaseUsd: WorstCaseUsd
  /** Present where steps may ask for kept answers. */
  readonly answers?: AnswerCacheDeps
  readonly retry?: Partial<RetrySettings>
  readonly circuitBreaker?: Partial<CircuitBreakerSettings>
  /** Absent if none is configured. */
  readonly pools?: Readonly<Record<string, PoolSettings>>
  /** Number of keys of every provider that has several; absent if none has. */
  readonly keyCounts?: ReadonlyMap<string, number>
  /** Whether a provider is configured and active. Called for members of pools before each call. */
  readonly isUsable?: (provider: string) => boolean
  /** Standing of the services behind providers. Absent where there are none. */
  readonly standing?: FindStanding
  readonly clock?: Clock
}

/**
 * Builds the layers around every request to a provider. Called once per Polyphony instance, because all flows share
 * rates and circuits. Order from the outside in: total timeout, fallbacks, retries, pools, keys, then around every
 * attempt: announcement, kept answers, shared beginnings, limits, rate limit, circuit breaker, ledger, stream timeouts.
 */
export function createCall(deps: CallDeps): Call {
  const clock = deps.clock ?? systemClock
  const retrySettings = { ...RETRY_DEFAULTS, ...deps.retry }
  const { baseDelayMs: jitterMs, retryAfterCapMs } = retrySettings
  const { ratesOf, loadProvider, sharedRates, warn, gates } = deps
  const layers: readonly CallLayer[] = [
    retry(retrySettings, clock),
    ...balanceLayers(deps, clock),
    announcedRepeats,
    ...(deps.answers ? [answerCache(deps.answers, clock)] : []),
    sharedBeginnings(clock),
    limits(deps.worstCaseUsd),
    rateLimit({ ratesOf, loadProvider, sharedRates, warn, gates, retryAfterCapMs, jitterMs }, clock),
    circuitBreaker({ ...CIRCUIT_BREAKER_DEFAULTS, ...deps.circuitBreaker }, clock, deps.standing),
    attemptLedger(deps, clock),
    streamTimeout(clock),
  ]
  const oneTarget = layers.reduceRight((next, layer) => layer(next), send(deps))
  const plainCall = totalTimeout(clock, fallback(oneTarget, clock))
  const wholeCall: typeof plainCall = deps.pools ? (request, context) => plainCall(withPools(request), context) : plainCall

  return (request, context) => {
    if (context.signal.aborted) return Promise.reject(context.signal.reason)
    if (context.observe) return observedCall(wholeCall, clock, request, context, context.observe)
    return wholeCall(request, toAttemptContext(context))
  }
}

/** The layers that choose whom to ask; none where nothing is to be chosen. */
function balanceLayers({ pools, keyCounts, isUsable = () => true, standing }: CallDeps, clock: Clock): readonly CallLayer[] {
  const groupDeps = { clock, isUsable, ...(standing && { standing }) }
  const ofPools = pools && balance(poolGroups(pools, groupDeps), clock)
  const ofKeys = keyCounts && balance(keyGroups(keyCounts, groupDeps), clock)
  return [ofPools, ofKeys].filter((layer) => layer !== undefined)
}

function toCallResponse(
  answer: ModelResponse,
  request: PreparedRequest,
  simulated: boolean,
  context: AttemptContext,
): CallResponse {
  const { provider, model: requestedModel } = request
  const complete: { readonly [Key in keyof Required<CallResponse>]: CallResponse[Key] } = {
    text: answer.text,
    refusal: answer.refusal,
    reasoningText: answer.reasoningText,
    toolCalls: answer.toolCalls,
    vendorTurn: answer.vendorTurn,
    files: answer.files,
    value: answer.value,
    isPaused: answer.isPaused,
    sources: answer.sources,
    finishReason: answer.finishReason,
    model: answer.model,
    usage: plausibleUsage(answer.usage),
    providerCostUsd: answer.providerCostUsd,
    serviceTier: answer.serviceTier,
    notes: answer.notes,
    provider,
    requestedModel,
    simulated,
    cut: cutNote(answer, request, context),
  }
  return complete
}

/** Sends one attempt. Stops waiting after an abort even if the provider ignores its signal. */
const send = ({ attempt, isSimulated }: CallDeps): AttemptCall => {
  const start: CallDeps['attempt'] = (request, options) => {
    try {
      return attempt(request, options)
    } catch (error) {
      return Promise.reject(error)
    }
  }
  return (request, context) => {
    const { signal, onDelta, onReasoning, onActivity } = context
    const { account, origin } = request
    const onVoid = onDelta && (() => void (signal.aborted || notifyVoid(request, context)))
    return untilAborted(start(request, { signal, onDelta, onReasoning, onVoid, onActivity, account, origin }), signal).then(
      (answer) => toCallResponse(answer, request, isSimulated?.(request.provider) ?? false, context),
      (error) => {
        if (signal.aborted) throw signal.reason
        throw OrchestratorError.from(error, 'STEP_FAILED', { provider: request.provider, model: request.model })
      },
    )
  }
}

/** Reports that the delivered text is void, with the same notice as before another attempt. */
function notifyVoid({ provider, model }: PreparedRequest, { onRetry, progress }: AttemptContext): void {
  const message = `The text so far of ${provider}/${model} turned out to be reasoning when its closing mark arrived; the answer comes next`
  progress.textDelivered = false
  onRetry?.({
    attempt: progress.attempts,
    delayMs: 0,
    error: new OrchestratorError('PROVIDER_BAD_REPLY', message, { details: { provider, model } }).toJSON(),
    provider,
    model,
    restart: true,
  })
}
