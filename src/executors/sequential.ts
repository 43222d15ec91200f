import type { Executor } from './executor.ts'
import { lastOf, lastSuccess, runInOrder } from './step-outcome.ts'

/** Steps in definition order; each sees all before it. */
export const sequentialExecutor: Executor = {
  type: 'sequential',
  calls: (definition) => definition.steps.map((step) => ({ stepId: step.id, min: step.condition === undefined ? 1 : 0, max: 1 })),
  answers: ({ steps }) => lastOf(steps),
  run: (definition, context) => runInOrder(definition.steps, context).then((results) => ({ final: lastSuccess(results) })),
}
