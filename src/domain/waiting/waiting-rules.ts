import type { z } from 'zod'
import type { DefinitionProblem } from '../definition/flow-definition.ts'
import { quoted } from '../definition/suggestion.ts'
import type { ResolvedTargets, TargetsInput } from '../definition/targets.ts'
import type { StepAction } from '../vocabulary.ts'
import { type approvalSchema, ENGINE_PROVIDER, isWaitingAction } from './waiting-steps.ts'

/** The fields of a step that concern waiting, and those that it must not have then, as far as they are well-formed. */
export interface WaitingInput extends TargetsInput, Partial<Readonly<Record<(typeof MODEL_KEYS)[number], unknown>>> {
  readonly agent?: string | undefined
  readonly action?: StepAction | undefined
  readonly approval?: z.output<typeof approvalSchema> | undefined
  readonly for?: number | string | undefined
  readonly until?: string | undefined
  readonly event?: string | undefined
  readonly correlation?: string | undefined
  readonly timeoutMs?: number | undefined
}

/** The target of a step that no model answers. */
export const engineTargets = (action: StepAction): ResolvedTargets => ({
  provider: ENGINE_PROVIDER,
  model: action,
  fallbacks: [],
  preset: undefined,
})

/** Keys of steps that only a call of a model reads. */
const MODEL_KEYS = [
  'agent',
  'prompt',
  'system',
  'settings',
  'retryOnFailure',
  'maxRetries',
  'timeout',
  'idleTimeout',
  'fallbackAfterFirstToken',
  'samples',
  'complete',
  'keepReasoning',
  'outputSchema',
  'cache',
] as const

const TIME_KEYS = ['for', 'until', 'event'] as const
const WAIT_KEYS = [...TIME_KEYS, 'correlation', 'timeoutMs'] as const

/** Adds a problem for every key that the action of the step does not have, and for what it lacks. */
export function findWaitingProblems(step: WaitingInput, path: string, problems: DefinitionProblem[]): void {
  const { action } = step
  const add = (key: string, message: string) => {
    const at = `${path}.${key}`
    // A value of the wrong shape is a problem already.
    if (!problems.some((problem) => problem.path === at || problem.path.startsWith(`${at}.`)))
      problems.push({ path: at, message })
  }
  if (action === undefined) return
  if (!isWaitingAction(action)) {
    if (step.approval) add('approval', `expected only with action "approve", found with action ${quoted(action)}`)
    for (const key of WAIT_KEYS)
      if (step[key] !== undefined) add(key, `expected only with action "wait", found with action ${quoted(action)}`)
    return
  }
  findModelKeys(step, action, add)
  if (action === 'approve') {
    if (!step.approval) add('approval', 'expected what an approve step asks, found none')
    for (const key of WAIT_KEYS) if (step[key] !== undefined) add(key, 'expected only with action "wait"; see approval.timeoutMs')
    return
  }
  if (step.approval) add('approval', 'expected only with action "approve", found with action "wait"')
  const [first, ...further] = TIME_KEYS.filter((key) => step[key] !== undefined)
  const isUnreadable = TIME_KEYS.some((key) => problems.some((problem) => problem.path === `${path}.${key}`))
  if (first === undefined && !isUnreadable) add('for', 'expected one of for, until or event, found none')
  for (const key of further) add(key, `expected one of for, until or event, found both ${first} and ${key}`)
  if (step.event !== undefined || isUnreadable) return
  if (step.correlation !== undefined) add('correlation', 'expected only together with event')
  if (step.timeoutMs !== undefined) add('timeoutMs', 'expected only together with event')
}

function findModelKeys(step: WaitingInput, action: StepAction, add: (key: string, message: string) => void): void {
  const { provider, model, fallbacks } = step
  // A parsed definition, which may be parsed again, holds the target that stands for no model.
  const isOwn = (provider === undefined || provider === ENGINE_PROVIDER) && (model === undefined || model === action)
  const message = `expected none with action "${action}", which no model answers`
  if (!isOwn) add(model === undefined ? 'provider' : 'model', message)
  if (fallbacks && fallbacks.length > 0) add('fallbacks', message)
  for (const key of MODEL_KEYS) if (step[key] !== undefined) add(key, message)
}
