import type { ModelRequest, ReasoningEffort } from '../../domain/execution/model-call.ts'
import type { RequestNotes } from '../vendor/request-notes.ts'
import type { GoogleAbilities, ThinkingBudget, ThinkingLevel } from './google-models.ts'

/** `generationConfig.thinkingConfig`. */
export interface ThinkingConfig {
  readonly thinkingBudget?: number
  readonly thinkingLevel?: ThinkingLevel
  /** Asks for summaries of the thoughts. */
  readonly includeThoughts?: true
}

type Effort = Exclude<ReasoningEffort, 'none'>

/**
 * Budgets in tokens for models without levels: those of Google's endpoint for OpenAI clients, whose words are the
 * same (ai.google.dev/gemini-api/docs/openai, November 2026). `max` is the largest budget of the model.
 */
const BUDGETS: Readonly<Record<Exclude<Effort, 'max'>, number>> = { minimal: 1_024, low: 1_024, medium: 8_192, high: 24_576 }

/** Part of maxTokens that thoughts may use, because they count toward it, so that enough is left for the answer. */
const THINKING_SHARE = 0.8

/** The level of each effort, and those that take its place, nearest first, where the model does not have it. */
const LEVELS: Readonly<Record<ReasoningEffort, readonly ThinkingLevel[]>> = {
  none: ['MINIMAL', 'LOW'],
  minimal: ['MINIMAL', 'LOW'],
  low: ['LOW'],
  medium: ['MEDIUM', 'HIGH'],
  high: ['HIGH'],
  max: ['HIGH'],
}
const EXACT: Readonly<Record<Exclude<Effort, 'max'>, ThinkingLevel>> = {
  minimal: 'MINIMAL',
  low: 'LOW',
  medium: 'MEDIUM',
  high: 'HIGH',
}

/**
 * Maps the setting to a budget for Gemini 2.5 and to a level for later models, which also take a budget
 * (ai.google.dev/gemini-api/docs/thinking, November 2026). A request must not have both.
 */
export function toThinkingConfig(
  { model, settings: { reasoning, maxTokens } }: ModelRequest,
  { thinking }: GoogleAbilities,
  notes: RequestNotes,
): ThinkingConfig | undefined {
  if (reasoning === undefined) return undefined
  if (thinking === undefined) {
    if (reasoning !== 'none') notes.leaveOut('reasoning', `${model} does not let it be set`)
    return undefined
  }
  if ('canTurnOff' in thinking) return toBudget(model, reasoning, maxTokens, thinking, notes)
  if (typeof reasoning === 'object') return { thinkingBudget: reasoning.maxTokens, includeThoughts: true }
  const level = LEVELS[reasoning].find((name) => thinking.includes(name))
  if (level === undefined) return undefined
  if (reasoning === 'none') {
    notes.replace('reasoning "none"', level, `${model} always reasons`)
    return { thinkingLevel: level }
  }
  if (reasoning === 'max' || EXACT[reasoning] !== level)
    notes.add(`reasoning "${reasoning}" was sent as ${level}, the nearest level of ${model}`)
  return { thinkingLevel: level, includeThoughts: true }
}

function toBudget(
  model: string,
  reasoning: ReasoningEffort | { readonly maxTokens: number },
  maxTokens: number | undefined,
  { min, max, canTurnOff }: ThinkingBudget,
  notes: RequestNotes,
): ThinkingConfig {
  if (reasoning === 'none') {
    if (canTurnOff) return { thinkingBudget: 0 }
    notes.replace('reasoning "none"', `${min} tokens`, `${model} always reasons`)
    return { thinkingBudget: min }
  }
  const wanted = typeof reasoning === 'object' ? reasoning.maxTokens : reasoning === 'max' ? max : BUDGETS[reasoning]
  const room = maxTokens === undefined ? max : Math.floor(maxTokens * THINKING_SHARE)
  const budget = Math.max(min, Math.min(wanted, max, room))
  if (typeof reasoning === 'object' && budget !== wanted)
    notes.add(`reasoning.maxTokens ${wanted} was changed to ${budget}, which ${model} and maxTokens allow`)
  return { thinkingBudget: budget, includeThoughts: true }
}
