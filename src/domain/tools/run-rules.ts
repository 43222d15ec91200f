import type { DefinitionProblem } from '../definition/flow-definition.ts'
import { quoted } from '../definition/suggestion.ts'
import type { TargetInput, TargetsInput } from '../definition/targets.ts'
import type { StepAction } from '../vocabulary.ts'
import { FUNCTION_PROVIDER } from './functions.ts'

/** Keys of steps that only a model reads. */
const MODEL_KEYS = [
  'prompt',
  'system',
  'settings',
  'idleTimeout',
  'fallbackAfterFirstToken',
  'samples',
  'complete',
  'keepReasoning',
  'tools',
  'maxTurns',
  'toolChoice',
  'maxResultTokens',
  'approveTools',
  'strict',
  'cache',
] as const

/** The fields of a step that concern operations, and those that a step which runs one must not have. */
export interface RunFields extends TargetsInput, Partial<Readonly<Record<(typeof MODEL_KEYS)[number], unknown>>> {
  readonly action?: StepAction | undefined
  readonly arguments?: unknown
}

/** Adds a problem for every key that the action of the step does not have, and for functions where models are named. */
export function findRunProblems(step: RunFields, path: string, problems: DefinitionProblem[]): void {
  const { action } = step
  const add = (key: string, message: string) => {
    const at = `${path}.${key}`
    // A value of the wrong shape is a problem already.
    if (!problems.some((problem) => problem.path === at || problem.path.startsWith(`${at}.`)))
      problems.push({ path: at, message })
  }
  if (action === undefined) return
  if (action !== 'run') {
    if (step.arguments !== undefined) add('arguments', `expected only with action "run", found with action ${quoted(action)}`)
    if (action !== 'approve' && action !== 'wait') findFunctions(step, action, add)
    return
  }
  const message = 'expected none with action "run", which calls no model'
  if (step.agent !== undefined) add('agent', message)
  if (step.fallbacks && step.fallbacks.length > 0) add('fallbacks', message)
  for (const key of MODEL_KEYS) if (step[key] !== undefined) add(key, message)
}

/** Functions are named by every process alike; which other providers have operations is known where they are called. */
function findFunctions(step: RunFields, action: StepAction, add: (key: string, message: string) => void): void {
  if (namesFunction(step)) {
    add('model', `expected action "run" for a function, found action ${quoted(action)}`)
  }
  for (const [index, fallback] of (step.fallbacks ?? []).entries()) {
    if (namesFunction(fallback)) {
      add(`fallbacks[${index}]`, 'expected a model, found a function, which cannot answer a prompt')
    }
  }
}

const namesFunction = ({ provider, model }: TargetInput): boolean =>
  provider === FUNCTION_PROVIDER || (provider === undefined && model?.startsWith(`${FUNCTION_PROVIDER}/`) === true)
