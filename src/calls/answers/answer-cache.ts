import type { Clock } from '../../async/clock.ts'
import { untilAborted } from '../../async/until-aborted.ts'
import { UNKNOWN_USAGE } from '../../domain/execution/usage.ts'
import { digestOf, toCanonicalJson, toCanonicalRequest } from '../../prompts/request-key.ts'
import type { AnswerCaching, AttemptCall, AttemptContext, CallLayer, CallResponse, PreparedRequest } from '../call.ts'
import { createSharedRequest, type SharedRequest } from './shared-request.ts'

/** An answer that may be served again. It never holds the tokens of its first call, because they are not used again. */
export interface KeptAnswer {
  readonly response: CallResponse
  /** Milliseconds since the epoch. */
  readonly keptAtMs: number
}

/** Implemented by createCache. */
export interface AnswerStore {
  get(key: string): KeptAnswer | undefined
  set(key: string, answer: KeptAnswer, options: { readonly ttlMs: number }): void
}

export interface AnswerCacheDeps {
  /** Opens the store; called once per call that may use it, so it must return the same one. */
  readonly open: () => Promise<AnswerStore>
  /** Milliseconds for which an answer is served where its step says nothing. */
  readonly ttlMs: number
  /** Address of a provider, because an account may be moved to another service. Implemented by createModels. */
  readonly originOf: (provider: string) => string
  /** Version of the adapters, which decide how a request is sent and its answer is read. */
  readonly versionOf: () => string
}

/**
 * Serves kept answers instead of requests, before anything is reserved or sent, to calls whose step asks for it. Equal
 * calls of one flow share one request.
 */
export const answerCache = (deps: AnswerCacheDeps, clock: Clock): CallLayer => {
  /** Requests that have no answer yet, by flow and key. */
  const running = new Map<string, SharedRequest>()

  return (next) => (request, context) => {
    const { answerCaching } = context
    return answerCaching ? answer(next, request, context, answerCaching) : next(request, context)
  }

  async function answer(
    next: AttemptCall,
    request: PreparedRequest,
    context: AttemptContext,
    caching: AnswerCaching,
  ): Promise<CallResponse> {
    const { ttlMs = deps.ttlMs } = caching
    const store = await untilAborted(deps.open(), context.signal)
    const key = keyOf(request, context, caching, deps)
    const kept = store.get(key)
    // A step may accept younger answers only than the step that kept this one.
    if (kept && clock.now() - kept.keptAtMs < ttlMs) return serveKept(kept, context, clock)

    const flight = `${caching.flowId} ${key}`
    const found = running.get(flight)
    const joined = found?.isAwaited() ? found : undefined
    const shared = joined ?? createSharedRequest(next, request, context)
    if (!joined) {
      running.set(flight, shared)
      const end = () => {
        if (running.get(flight) === shared) running.delete(flight)
      }
      shared.outcome.then(end, end)
    }
    const { response, isPaid } = await shared.take(context)
    if (mayBeKept(response)) {
      const answered: KeptAnswer = { response: toKept(response, caching), keptAtMs: clock.now() }
      caching.onAnswer(() => store.set(key, answered, { ttlMs }))
    }
    if (isPaid) return response
    const note = 'the answer is that of an equal request of the same flow at the same time'
    return serve(toKept(response, caching), note, context, clock)
  }
}

/** Everything that decides an answer, and who may get it. */
function keyOf(
  request: PreparedRequest,
  { complete }: AttemptContext,
  { scope, sample, keepsReasoning }: AnswerCaching,
  { originOf, versionOf }: AnswerCacheDeps,
): string {
  const { provider } = request
  const origin = originOf(provider)
  const facts = { version: versionOf(), provider, origin, scope, sample, keepsReasoning, complete: complete ?? false }
  return digestOf([toCanonicalJson(facts) ?? null, toCanonicalRequest(request)])
}

/** Only complete answers of real models, in words. */
const mayBeKept = ({ finishReason, refusal, cut, simulated, toolCalls = [], files = [] }: CallResponse): boolean =>
  finishReason === 'stop' &&
  refusal === undefined &&
  cut === undefined &&
  !simulated &&
  toolCalls.length === 0 &&
  files.length === 0

function toKept(response: CallResponse, { keepsReasoning }: AnswerCaching): CallResponse {
  const reasoningText = keepsReasoning ? response.reasoningText : undefined
  return { ...response, usage: UNKNOWN_USAGE, providerCostUsd: undefined, vendorTurn: undefined, reasoningText }
}

function serveKept({ response, keptAtMs }: KeptAnswer, context: AttemptContext, clock: Clock): CallResponse {
  const seconds = Math.max(0, Math.round((clock.now() - keptAtMs) / 1_000))
  return serve(response, `the answer was kept ${seconds} s ago and is served from the cache`, context, clock)
}

/** Adds the ledger row of an answer that costs nothing, and delivers its text in one chunk. */
function serve(response: CallResponse, note: string, context: AttemptContext, clock: Clock): CallResponse {
  const { progress, onAttempt, onDelta } = context
  progress.attempts += 1
  onAttempt({
    number: progress.attempts,
    provider: response.provider,
    model: response.model,
    startedAt: new Date(clock.now()),
    executionTime: 0,
    cost: 0,
    costSource: 'cache',
    aborted: false,
    cached: true,
    simulated: response.simulated,
  })
  if (onDelta) {
    progress.textDelivered = true
    onDelta(response.text)
  }
  return { ...response, notes: [...response.notes, note] }
}
