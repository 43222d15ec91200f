import type { ModelRequest, ReasoningEffort } from '../../domain/execution/model-call.ts'
import type { ForeignRecord } from '../vendor/foreign-json.ts'
import type { RequestNotes } from '../vendor/request-notes.ts'
import type { AnthropicAbilities } from './anthropic-models.ts'

/** How the request makes the model reason. */
export interface ReasoningPlan {
  readonly thinking?: ForeignRecord
  /** `output_config.effort`. */
  readonly effort?: string
  readonly maxTokens: number
  /** Whether the model may be made to call a tool. */
  readonly canForceTools: boolean
  /** Whether the request asks for reasoning, which excludes most settings of randomness. */
  readonly reasons: boolean
}

type Effort = Exclude<ReasoningEffort, 'none'>

/** Smallest budget that the API accepts. */
const MIN_BUDGET = 1_024

/**
 * Budgets in tokens for models that know no efforts. With the default for the answer they stay below 32,000, the
 * smallest maximum of the models that reason.
 */
const BUDGETS: Readonly<Record<Effort, number>> = { minimal: MIN_BUDGET, low: 4_000, medium: 8_000, high: 16_000, max: 23_000 }

/** Part of the bound that reasoning of an effort may use, so that enough is left for the answer. */
const REASONING_SHARE = 0.8

/**
 * Maps the setting to `thinking` and `output_config.effort` (platform.claude.com/docs/en/build-with-claude/thinking
 * and …/effort, November 2026). Reasoning counts toward max_tokens. Summaries are asked for, because newer models
 * send no text of their reasoning otherwise. A request with reasoning must not make the model call a tool (the API
 * answers "Thinking may not be enabled when tool_choice forces tool use").
 */
export function toReasoningPlan(
  request: ModelRequest,
  abilities: AnthropicAbilities,
  hasReplayedReasoning: boolean,
  notes: RequestNotes,
): ReasoningPlan {
  const { model, settings, toolChoice, tools, hostedTools } = request
  const forcesTools =
    (tools !== undefined || hostedTools !== undefined) &&
    toolChoice !== undefined &&
    toolChoice !== 'auto' &&
    toolChoice !== 'none'
  const { reasoning } = abilities
  const asked = settings.reasoning
  const plain = { maxTokens: settings.maxTokens ?? abilities.defaultMaxTokens, canForceTools: true, reasons: false }
  const canTurnOff = reasoning === 'effort_by_default'

  if (reasoning === 'always') {
    if (forcesTools) notes.leaveOut('toolChoice', `${model} always reasons, and then cannot be made to call a tool`)
    if (asked === undefined) return { ...plain, canForceTools: false }
    if (asked === 'none') {
      notes.replace('reasoning "none"', 'effort "low"', `${model} always reasons`)
      return { ...plain, effort: 'low', canForceTools: false }
    }
    return { ...byEffort(asked), canForceTools: false }
  }
  if (asked === undefined || asked === 'none') {
    if (!canTurnOff || (asked === undefined && !forcesTools)) return plain
    if (asked === undefined) notes.add(`reasoning was turned off, because ${model} cannot be made to call a tool otherwise`)
    return { ...plain, thinking: { type: 'disabled' } }
  }
  if (reasoning === 'none') {
    notes.leaveOut('reasoning', `${model} does not reason`)
    return plain
  }
  if (forcesTools) {
    notes.leaveOut('reasoning', `${model} cannot reason where toolChoice makes it call a tool`)
    return canTurnOff ? { ...plain, thinking: { type: 'disabled' } } : plain
  }
  const takesBudget = reasoning === 'budget' || (reasoning === 'budget_or_effort' && typeof asked === 'object')
  return takesBudget ? byBudget(asked) : byEffort(asked)

  function byEffort(given: Effort | { readonly maxTokens: number }): ReasoningPlan {
    const thinking = { type: 'adaptive', display: 'summarized' }
    if (typeof given === 'object') {
      notes.leaveOut('reasoning.maxTokens', `${model} takes no number of tokens; max_tokens bounds reasoning and answer`)
      const maxTokens = settings.maxTokens ?? abilities.defaultMaxTokens + given.maxTokens
      return { thinking, maxTokens, canForceTools: true, reasons: true }
    }
    if (given === 'minimal') notes.add(`reasoning "minimal" was sent as "low", the lowest effort of ${model}`)
    return {
      thinking,
      effort: given === 'minimal' ? 'low' : given,
      maxTokens: settings.maxTokens ?? abilities.defaultMaxTokens + BUDGETS[given],
      canForceTools: true,
      reasons: true,
    }
  }

  function byBudget(given: Effort | { readonly maxTokens: number }): ReasoningPlan {
    // The API requires that the turn before tool results begins with reasoning of this model.
    if (!hasReplayedReasoning) {
      notes.leaveOut('reasoning', `the turn before the tool results holds no reasoning of ${model}`)
      return plain
    }
    const bound = settings.maxTokens
    const wanted = typeof given === 'object' ? given.maxTokens : BUDGETS[given]
    const allowed = bound === undefined ? wanted : Math.min(wanted, Math.floor(bound * REASONING_SHARE))
    if (allowed < MIN_BUDGET) {
      notes.leaveOut('reasoning', `${model} needs at least ${MIN_BUDGET} tokens for it, and ${allowed} are allowed`)
      return plain
    }
    if (allowed < wanted) notes.add(`reasoning was bounded to ${allowed} tokens, so that maxTokens leaves room for the answer`)
    return {
      thinking: { type: 'enabled', budget_tokens: allowed },
      maxTokens: bound ?? abilities.defaultMaxTokens + allowed,
      canForceTools: true,
      reasons: true,
    }
  }
}
