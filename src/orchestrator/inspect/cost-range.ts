import type { PoolDirectory } from '../../domain/definition/call/pools.ts'
import type { FlowDefinition, FlowStep, Target } from '../../domain/definition/flow-definition.ts'
import { reasoningBudgetOf } from '../../domain/execution/model-call.ts'
import { DEFAULT_MAX_TURNS, hostedToolsOf } from '../../domain/tools/tool-fields.ts'
import { isWaitingStep } from '../../domain/waiting/waiting-steps.ts'
import type { CallRange, Executor } from '../../executors/executor.ts'
import type { TokenCounter } from '../../prompts/token-count.ts'
import type { NamedProvider, PriceBook } from '../../providers/provider.ts'
import type { Findings, FlowFinding } from './flow-finding.ts'

/**
 * Estimates in US dollars. `lowUsd`: short answers and the fewest calls. `highUsd`: every answer at its maxTokens and
 * the most calls.
 */
export interface CostRange {
  readonly lowUsd: number
  readonly highUsd: number
  /** Models, and hosted tools of models, without a known price. */
  readonly unpriced: readonly string[]
}

export interface CostRangeDeps {
  readonly prices: PriceBook
  readonly tokens: TokenCounter
  /** Implemented by createPricingLookup. */
  readonly pricingOf: (provider: string) => NamedProvider
  readonly pools: PoolDirectory
}

/** Output tokens assumed for a call without maxTokens, and for a short answer. */
const DEFAULT_MAX_TOKENS = 4_096
const SHORT_ANSWER_TOKENS = 200

/**
 * Minimum and maximum number of calls of each step that a provider answers, by step id. A step with tools may call its
 * model once per turn.
 */
export const callRanges = (
  executors: Readonly<Record<string, Executor>>,
  definition: FlowDefinition,
): ReadonlyMap<string, CallRange> => {
  const waiting = new Set(definition.steps.filter(isWaitingStep).map(({ id }) => id))
  const ranges = executors[definition.type]?.calls(definition).filter(({ stepId }) => !waiting.has(stepId))
  const turns = new Map(definition.steps.map((step) => [step.id, step.tools ? (step.maxTurns ?? DEFAULT_MAX_TURNS) : 1]))
  return new Map(ranges?.map((range) => [range.stepId, { ...range, max: range.max * (turns.get(range.stepId) ?? 1) }]))
}

/**
 * Minimum and maximum cost of a run, and the models without a price. Counts the tokens of every prompt, which takes
 * time.
 */
export async function costRange(
  deps: CostRangeDeps,
  definition: FlowDefinition,
  ranges: ReadonlyMap<string, CallRange>,
): Promise<CostRange> {
  let lowUsd = 0
  let highUsd = 0
  const unpriced = new Set<string>()
  let upstreamTokens = 0
  for (const step of definition.steps) {
    if (isWaitingStep(step)) continue
    const { settings = {} } = step
    const maxTokens = (settings.maxTokens ?? DEFAULT_MAX_TOKENS) + reasoningBudgetOf(settings)
    const { min, max } = ranges.get(step.id) ?? { min: 1, max: 1 }
    const samples = step.samples ?? 1
    const hosted = hostedToolsOf(step)
    const shared = Math.min(upstreamTokens, definition.contextPolicy.maxSharedTokens)
    const costs: { readonly low: number; readonly high: number }[] = []
    for (const target of deps.pools.membersOf(step)) {
      const provider = deps.pricingOf(target.provider)
      const own = await ownTokens(deps, definition, step, target)
      const low = await deps.prices.worstCase(provider, target.model, own, Math.min(maxTokens, SHORT_ANSWER_TOKENS))
      const high = await deps.prices.worstCase(provider, target.model, own + shared, maxTokens, hosted)
      const name = `${target.provider}/${target.model}`
      if (low !== undefined && high !== undefined) costs.push({ low, high })
      else if (!provider.simulated) unpriced.add(low === undefined ? name : `the hosted tools of ${name}`)
    }
    if (costs.length > 0) {
      // Any member of a pool may answer, the cheapest as well as the dearest.
      lowUsd += Math.min(...costs.map(({ low }) => low)) * min * samples
      highUsd += Math.max(...costs.map(({ high }) => high)) * max * samples
    }
    upstreamTokens += maxTokens
  }
  return { lowUsd, highUsd, unpriced: [...unpriced] }
}

async function ownTokens(
  { tokens, pricingOf }: CostRangeDeps,
  definition: FlowDefinition,
  step: FlowStep,
  { provider, model }: Target,
): Promise<number> {
  const { vendor } = pricingOf(provider)
  const texts = [step.prompt, step.system, definition.input].filter((text) => typeof text === 'string')
  let sum = 0
  for (const text of texts) sum += await tokens.count(text, vendor, model)
  return sum
}

/** Whether the estimated cost stays within `limits.maxCostUsd` of the definition. */
export function limitFindings(definition: FlowDefinition, cost: CostRange): Findings {
  const problems: FlowFinding[] = []
  const warnings: FlowFinding[] = []
  const max = definition.limits?.maxCostUsd
  if (max === undefined) return { problems, warnings }
  const details = { limit: 'maxCostUsd', max, lowUsd: cost.lowUsd, highUsd: cost.highUsd }
  const add = (list: FlowFinding[], message: string) =>
    list.push({ code: 'LIMIT_EXCEEDED', path: 'limits.maxCostUsd', message, details })
  if (cost.unpriced.length > 0) add(problems, `a cost limit needs prices; there is none for ${cost.unpriced.join(', ')}`)
  if (cost.lowUsd > max) add(problems, `even short answers cost about $${cost.lowUsd.toFixed(4)}, the limit is $${max}`)
  else if (cost.highUsd > max) add(warnings, `long answers may cost up to $${cost.highUsd.toFixed(4)}, the limit is $${max}`)
  return { problems, warnings }
}
