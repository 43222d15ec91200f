import type { PromptScope, References, StepView } from '../../domain/definition/prompt-scope.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'

/**
 * Maximum number of characters and values that one evaluation may read; each read counts again. Limits the cost of
 * loops in conditions.
 */
const MAX_READ = 20_000_000
/** Cost of each value in addition to its characters. */
const VALUE_COST = 20
/** Maximum elements of one list that a condition may read. */
const MAX_LIST = 1_000
const MAX_DEPTH = 20

type Bare = Record<string, unknown>

const bare = (): Bare => Object.create(null)

/**
 * The scope without prototypes, functions and unbounded lists. Values are read, and their cost counted, when the
 * expression reads them.
 */
export function toConditionContext(scope: PromptScope, references: References): Bare {
  const meter = createMeter()
  const context = bare()
  context.iteration = BigInt(scope.iteration)
  lazy(context, 'metadata', () => meter.copy(scope.metadata))
  for (const name of ['original', 'input', 'previous'] as const) lazy(context, name, () => meter.copy(scope[name] ?? ''))
  lazy(context, 'history', () => meter.copy(scope.history ?? []))
  const ids = references.allSteps ? Object.keys(scope.steps) : references.steps
  const steps = bare()
  for (const id of ids) if (Object.hasOwn(scope.steps, id)) lazy(steps, id, () => toStep(scope.steps[id], meter))
  context.steps = steps
  return context
}

function toStep(view: StepView | undefined, meter: Meter): Bare {
  const step = bare()
  if (!view) return step
  step.status = view.status
  for (const name of ['output', 'parsed', 'samples', 'sources'] as const) {
    if (view[name] !== undefined) lazy(step, name, () => meter.copy(view[name]))
  }
  return step
}

const lazy = (target: Bare, name: string, get: () => unknown): void => {
  Object.defineProperty(target, name, { enumerable: true, get })
}

interface Meter {
  copy(value: unknown, depth?: number): unknown
}

function createMeter(): Meter {
  let read = 0
  const charge = (amount: number): void => {
    read += amount + VALUE_COST
    if (read > MAX_READ) throw new OrchestratorError('STEP_FAILED', `condition: it reads more than ${MAX_READ} characters`)
  }
  const copy = (value: unknown, depth = 0): unknown => {
    if (typeof value === 'string') {
      charge(value.length)
      return value
    }
    charge(0)
    if (typeof value !== 'object' || value === null) return value === undefined || typeof value === 'function' ? null : value
    if (depth >= MAX_DEPTH)
      throw new OrchestratorError('STEP_FAILED', `condition: expected values at most ${MAX_DEPTH} levels deep`)
    if (Array.isArray(value)) {
      if (value.length > MAX_LIST) {
        throw new OrchestratorError(
          'STEP_FAILED',
          `condition: expected lists of at most ${MAX_LIST} elements, found ${value.length}`,
        )
      }
      return value.map((element) => copy(element, depth + 1))
    }
    const object = bare()
    for (const [key, member] of Object.entries(value)) {
      charge(key.length)
      if (member !== undefined) object[key] = copy(member, depth + 1)
    }
    return object
  }
  return { copy }
}
