import { type Clock, wait } from '../async/clock.ts'
import { untilAborted } from '../async/until-aborted.ts'
import { callFactsOf, withCallFacts } from '../domain/execution/call-facts.ts'
import { reasoningBudgetOf } from '../domain/execution/model-call.ts'
import { OrchestratorError } from '../errors/orchestrator-error.ts'
import type { AttemptCall, AttemptContext, CallLayer, CallResponse, PreparedRequest } from './call.ts'
import type { Gate, Pass, Rates } from './gate.ts'
import { type AccountClosures, createAccountClosures } from './rates/account-closures.ts'
import { accountOf } from './rates/account-name.ts'
import { createGates, type Gates, type GatesDeps, isLimited } from './rates/gates.ts'

/** Limited, because the keys are model names, which come from flows. */
const MAX_HELD = 1_000

export interface RateLimitDeps extends Omit<GatesDeps, 'clock'> {
  /** Rates of a configured provider. Called once per attempt. Implemented by createRatesOf. */
  readonly ratesOf: (provider: string) => Rates
  /** Queues that other requests than those of this layer wait in as well. Default: queues of its own. */
  readonly gates?: Gates
  /** A 429 with a longer wait than this holds back only its own call. Milliseconds. */
  readonly retryAfterCapMs: number
}

/**
 * Enforces the concurrency, requests and tokens per minute of every provider over all flows of this Polyphony instance,
 * and over all processes with `sharedRates`. A 429 that names a wait holds back all calls to that model, and closes the
 * account for all processes.
 */
export const rateLimit = (deps: RateLimitDeps, clock: Clock): CallLayer => {
  const { ratesOf, retryAfterCapMs, jitterMs, sharedRates, warn = () => {} } = deps
  const closures = sharedRates && createAccountClosures(sharedRates, clock, warn)
  const gates = deps.gates ?? createGates({ ...deps, clock })
  const heldUntil = new Map<string, number>()
  /** Calls that wait for the rates of their account. */
  const queued = new Map<string, number>()

  const gateOf = (request: PreparedRequest, rates: Rates): Promise<Gate> => gates.of(accountOf(request), request.provider, rates)

  const afterHold = async (request: PreparedRequest, context: AttemptContext): Promise<void> => {
    const target = nameOf(request)
    for (let until = heldUntil.get(target); until !== undefined; until = heldUntil.get(target)) {
      const leftMs = until - clock.now()
      if (leftMs <= 0) {
        heldUntil.delete(target)
        continue
      }
      const error = findPauseTooLong(request, context, leftMs, clock)
      if (error) throw error
      // Without jitter all waiting calls would be sent at the same moment.
      await wait(clock, leftMs + clock.random() * jitterMs, context.signal)
    }
  }

  const hold = (request: PreparedRequest, error: unknown) => {
    const target = nameOf(request)
    if (!OrchestratorError.is(error) || error.code !== 'PROVIDER_RATE_LIMITED') return
    const { retryAfterMs } = callFactsOf(error)
    if (retryAfterMs === undefined || retryAfterMs > retryAfterCapMs) return
    void closures?.close(accountOf(request), retryAfterMs)
    const until = Math.max(heldUntil.get(target) ?? 0, clock.now() + retryAfterMs)
    heldUntil.delete(target)
    heldUntil.set(target, until)
    const [oldest] = heldUntil.keys()
    if (heldUntil.size > MAX_HELD && oldest !== undefined) heldUntil.delete(oldest)
  }

  const enterGate = async (request: PreparedRequest, context: AttemptContext, rates: Rates): Promise<Pass> => {
    const { signal, queueLimit } = context
    const account = accountOf(request)
    const waiting = queued.get(account) ?? 0
    if (queueLimit !== undefined && waiting >= queueLimit) throw queueFull(request, waiting)
    queued.set(account, waiting + 1)
    try {
      const gate = await untilAborted(gateOf(request, rates), signal)
      const tokens = rates.tokensPerMinute === undefined ? 0 : await untilAborted(worstCaseTokens(request), signal)
      return await gate.enter(tokens, signal, (leftMs) => findPauseTooLong(request, context, leftMs, clock))
    } finally {
      queued.set(account, (queued.get(account) ?? 1) - 1)
    }
  }

  const throughGate = async (
    next: AttemptCall,
    request: PreparedRequest,
    context: AttemptContext,
    rates: Rates,
  ): Promise<CallResponse> => {
    const pass = await enterGate(request, context, rates)
    try {
      const response = await next(request, context)
      pass.correct(response.usage.totalTokens)
      return response
    } finally {
      pass.leave()
    }
  }

  return (next) => {
    const observed: AttemptCall = (request, context) =>
      next(request, context).catch((error) => {
        hold(request, error)
        throw error
      })
    // Checked after the queue, not before it: a pause may begin while a call waits there.
    const afterPause: AttemptCall = async (request, context) => {
      await afterHold(request, context)
      return observed(request, context)
    }
    return (request, context) => {
      const rates = ratesOf(request.provider)
      if (isLimited(rates)) return throughGate(afterPause, request, context, rates)
      if (closures) return afterClosure(afterPause, request, context, closures, { clock, jitterMs })
      return heldUntil.size === 0 ? observed(request, context) : afterPause(request, context)
    }
  }
}

const nameOf = (request: PreparedRequest): string => `${accountOf(request)}/${request.model}`

/** Waits while another process has closed the account, for calls that take no slot. */
async function afterClosure(
  next: AttemptCall,
  request: PreparedRequest,
  context: AttemptContext,
  closures: AccountClosures,
  { clock, jitterMs }: { readonly clock: Clock; readonly jitterMs: number },
): Promise<CallResponse> {
  const { signal } = context
  for (;;) {
    const known = closures.leftMs(accountOf(request))
    const leftMs = typeof known === 'number' ? known : await untilAborted(known, signal)
    if (leftMs <= 0) return next(request, context)
    const error = findPauseTooLong(request, context, leftMs, clock)
    if (error) throw error
    await wait(clock, leftMs + clock.random() * jitterMs, signal)
  }
}

function findPauseTooLong(request: PreparedRequest, { progress, queueLimit }: AttemptContext, leftMs: number, clock: Clock) {
  // A member of a pool is left for another one.
  if (queueLimit !== undefined) return pauseTooLong(request, leftMs, 'now')
  const isTooLong = clock.now() + leftMs >= (progress.endsAtMs ?? Number.POSITIVE_INFINITY)
  return isTooLong ? pauseTooLong(request, leftMs, 'in the remaining time') : undefined
}

function queueFull({ provider, model }: PreparedRequest, waiting: number): OrchestratorError {
  const message = `Expected a place in the queue for the rates of ${provider}/${model}; ${waiting} requests wait in it`
  const error = new OrchestratorError('PROVIDER_RATE_LIMITED', message, { details: { provider, model, queue: 'full' } })
  return withCallFacts(error, { generated: false })
}

/** The provider has asked for a pause that is longer than the call may wait. */
function pauseTooLong({ provider, model }: PreparedRequest, retryAfterMs: number, within: string): OrchestratorError {
  const message = `Expected ${provider}/${model} to accept a request ${within}; it has asked for a pause of another ${retryAfterMs} ms`
  const error = new OrchestratorError('PROVIDER_RATE_LIMITED', message, { details: { provider, model, retryAfterMs } })
  return withCallFacts(error, { retryAfterMs, generated: false })
}

const worstCaseTokens = async ({ countInputTokens, settings }: PreparedRequest): Promise<number> =>
  (await countInputTokens()) + (settings.maxTokens ?? 0) + reasoningBudgetOf(settings)
