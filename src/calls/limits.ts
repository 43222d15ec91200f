import { untilAborted } from '../async/until-aborted.ts'
import { callFactsOf } from '../domain/execution/call-facts.ts'
import { reasoningBudgetOf } from '../domain/execution/model-call.ts'
import type { Attempt } from '../domain/execution/step-result.ts'
import { MAX_HOSTED_CALLS } from '../domain/tools/tool-fields.ts'
import { OrchestratorError } from '../errors/orchestrator-error.ts'
import type { AttemptCall, AttemptContext, Budget, CallLayer, CallResponse, PreparedRequest, Reservation, Spend } from './call.ts'
import { DEFAULT_MAX_TOKENS } from './call-estimate.ts'
import { wasNeverConnected } from './never-connected.ts'

// Larger than the rounding error of a sum of prices, and far below the price of a token.
const COST_TOLERANCE_USD = 1e-12

const NOTHING: Spend = { costUsd: 0, tokens: 0 }
const NO_TOOLS: readonly string[] = []

export interface BudgetLimits {
  readonly maxCostUsd?: number
  readonly maxTokens?: number
}

/** The budget of one flow; `undefined` if it has no limits. */
export function createBudget(limits: BudgetLimits, alreadySpent: Spend = NOTHING): Budget | undefined {
  const { maxCostUsd = Number.POSITIVE_INFINITY, maxTokens = Number.POSITIVE_INFINITY } = limits
  if (limits.maxCostUsd === undefined && limits.maxTokens === undefined) return undefined
  const spent = { ...alreadySpent }
  const reserved = { costUsd: 0, tokens: 0 }
  const waiting = new Set<() => void>()

  const over = (needed: Spend, otherReservations: Spend): OrchestratorError | undefined => {
    if (spent.costUsd + otherReservations.costUsd + needed.costUsd > maxCostUsd + COST_TOLERANCE_USD) {
      return exceeded('maxCostUsd', maxCostUsd, spent.costUsd, otherReservations.costUsd, needed.costUsd)
    }
    if (spent.tokens + otherReservations.tokens + needed.tokens > maxTokens) {
      return exceeded('maxTokens', maxTokens, spent.tokens, otherReservations.tokens, needed.tokens)
    }
    return undefined
  }

  const take = (needed: Spend): Reservation => {
    reserved.costUsd += needed.costUsd
    reserved.tokens += needed.tokens
    let open = true
    return {
      settle(actual) {
        if (!open) return
        open = false
        reserved.costUsd -= needed.costUsd
        reserved.tokens -= needed.tokens
        spent.costUsd += actual.costUsd ?? needed.costUsd
        spent.tokens += actual.tokens ?? needed.tokens
        for (const retry of [...waiting]) retry()
      },
    }
  }

  const reserve = (needed: Spend): Reservation => {
    const refusal = over(needed, reserved)
    if (refusal) throw refusal
    return take(needed)
  }

  return {
    spent,
    defaultMaxTokens: DEFAULT_MAX_TOKENS,
    limitsCost: limits.maxCostUsd !== undefined,
    reserve,
    reserveWhenFree(needed, signal) {
      const refusal = over(needed, NOTHING)
      if (refusal) throw refusal
      if (!over(needed, reserved)) return take(needed)
      return new Promise((resolve, reject) => {
        const leave = () => {
          waiting.delete(retry)
          signal.removeEventListener('abort', onAbort)
        }
        const onAbort = () => {
          leave()
          reject(signal.reason)
        }
        const retry = () => {
          const refusal = over(needed, NOTHING)
          if (!refusal && over(needed, reserved)) return
          leave()
          if (refusal) reject(refusal)
          else resolve(take(needed))
        }
        waiting.add(retry)
        signal.addEventListener('abort', onAbort, { once: true })
      })
    },
  }
}

function exceeded(limit: string, max: number, spent: number, reserved: number, needed: number): OrchestratorError {
  const message = `Expected ${limit} ${max} to cover the worst case of the call, ${needed}; ${spent} is spent and ${reserved} reserved`
  return new OrchestratorError('LIMIT_EXCEEDED', message, { details: { limit, max, spent, reserved, needed } })
}

/** Maximum cost of one request in US dollars; `undefined` if the model or a hosted tool has no known price. */
export type WorstCaseUsd = (
  provider: string,
  model: string,
  inputTokens: number,
  maxOutputTokens: number,
  hostedTools?: readonly string[],
) => Promise<number | undefined> | number | undefined

/**
 * Reserves the worst case before every attempt, in the limits of its flow and in the budgets over many flows, and
 * settles both with the ledger row of the attempt. The fees of hosted tools are no part of that row, so that an attempt
 * with an answer keeps their reservation. Only figures reported by the provider free the rest of a
 * reservation: with estimates the actual sum could exceed the limit.
 */
export const limits = (worstCaseUsd: WorstCaseUsd): CallLayer => {
  return (next) => (request, context) =>
    context.budget || context.sharedBudgets ? withinLimits(next, request, context, worstCaseUsd) : next(request, context)
}

async function withinLimits(
  next: AttemptCall,
  request: PreparedRequest,
  context: AttemptContext,
  worstCaseUsd: WorstCaseUsd,
): Promise<CallResponse> {
  const { budget, sharedBudgets, signal } = context
  const { provider, model, settings, hostedTools = NO_TOOLS } = request
  const limitsCost = budget?.limitsCost === true || sharedBudgets?.limitsCost === true
  // Operations use no tokens.
  const isOperation = request.arguments !== undefined
  const maxTokens = isOperation ? 0 : (settings.maxTokens ?? budget?.defaultMaxTokens ?? DEFAULT_MAX_TOKENS)
  const engineSetsTokens = !isOperation && settings.maxTokens === undefined
  const boundsTools = limitsCost && hostedTools.length > 0
  const bounds = {
    ...(engineSetsTokens && { settings: { ...settings, maxTokens } }),
    ...(boundsTools && { maxHostedCalls: MAX_HOSTED_CALLS }),
  }
  const bounded: PreparedRequest = engineSetsTokens || boundsTools ? { ...request, ...bounds } : request
  let fees = 0
  const needed = await untilAborted(worstCase(), signal)
  const settle = await reserveBoth(needed, context)

  // Remains the outcome if there is no ledger row, because then nothing was sent.
  let actual: Partial<Spend> = NOTHING
  const onAttempt = (attempt: Attempt) => {
    actual = spentBy(attempt, fees)
    context.onAttempt(attempt)
  }
  try {
    const engineMaxTokens = engineSetsTokens ? maxTokens : undefined
    return await next(bounded, { ...context, onAttempt, engineMaxTokens })
  } catch (error) {
    if (actual !== NOTHING && mayBeBilled(error)) actual = UNKNOWN
    throw error
  } finally {
    const settled = settle(actual)
    // The next attempt of this flow must find the amount free. An aborted call must not wait for the database.
    if (settled && !signal.aborted) await untilAborted(settled, signal).catch(() => undefined)
  }

  async function worstCase(): Promise<Spend> {
    const inputTokens = await request.countInputTokens()
    // Some vendors add the budget of reasoning to the tokens of the answer.
    const outputTokens = maxTokens + reasoningBudgetOf(settings)
    const tokens = inputTokens + outputTokens
    if (!limitsCost) return { costUsd: 0, tokens }
    const costUsd = await worstCaseUsd(provider, model, inputTokens, outputTokens)
    const withTools =
      hostedTools.length > 0 ? await worstCaseUsd(provider, model, inputTokens, outputTokens, hostedTools) : costUsd
    const reason = budget?.limitsCost ? 'limits.maxCostUsd' : 'a budget of costs'
    if (costUsd === undefined) throw unpriced(provider, model, reason)
    if (withTools === undefined) throw unpricedTools(provider, model, hostedTools, reason)
    fees = withTools - costUsd
    return { costUsd: withTools, tokens }
  }
}

type Settle = (actual: Partial<Spend>) => Promise<void> | undefined

/** Reserves in the flow's own limits first, which costs nothing, and then in the database. */
async function reserveBoth(needed: Spend, { budget, sharedBudgets, signal }: AttemptContext): Promise<Settle> {
  const own = budget && (await budget.reserveWhenFree(needed, signal))
  if (!sharedBudgets) {
    return (actual) => {
      own?.settle(actual)
      return undefined
    }
  }
  try {
    const shared = await sharedBudgets.reserve(needed, signal)
    return (actual) => {
      own?.settle(actual)
      return shared.settle(actual)
    }
  } catch (error) {
    own?.settle(NOTHING)
    throw error
  }
}

/** An unknown spend keeps the whole reservation. */
const UNKNOWN: Partial<Spend> = {}

/** The connection broke after the request was sent and before a status arrived: the provider may bill an answer. */
const mayBeBilled = (error: unknown): boolean =>
  OrchestratorError.is(error) &&
  error.code === 'PROVIDER_UNAVAILABLE' &&
  callFactsOf(error).status === undefined &&
  !wasNeverConnected(error)

const spentBy = ({ usage, cost, costSource }: Attempt, fees: number): Partial<Spend> => {
  if (!usage) return { costUsd: cost ?? 0, tokens: 0 }
  const reported = usage.source === 'reported'
  const isKnown = cost !== undefined && (reported || costSource === 'provider')
  return {
    costUsd: isKnown ? cost + fees : undefined,
    tokens: reported ? usage.totalTokens : undefined,
  }
}

function unpricedTools(provider: string, model: string, hostedTools: readonly string[], reason: string): OrchestratorError {
  const named = hostedTools.map((tool) => `hosted/${tool}`).join(', ')
  const message = `Expected known fees of ${named} at ${provider}/${model}, because ${reason} is set; configure hostedPerTurn in its entry of prices`
  return new OrchestratorError('LIMIT_EXCEEDED', message, {
    details: { reason: 'unpriced', limit: 'maxCostUsd', provider, model, hostedTools },
  })
}

function unpriced(provider: string, model: string, reason: string): OrchestratorError {
  const message = `Expected a known price for ${provider}/${model}, because ${reason} is set; configure one under prices`
  return new OrchestratorError('LIMIT_EXCEEDED', message, {
    details: { reason: 'unpriced', limit: 'maxCostUsd', provider, model },
  })
}
