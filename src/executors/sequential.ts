import { skippableSteps } from '../prompts/step-plan.ts'
import type { Executor } from './executor.ts'
import { lastOf, lastSuccess, runInOrder } from './step-outcome.ts'

/** Runs the steps in definition order; each sees the results of all steps before it. */
export const sequentialExecutor: Executor = {
  type: 'sequential',
  calls: (definition) => {
    const skippable = skippableSteps(definition)
    return definition.steps.map(({ id }) => ({ stepId: id, min: skippable.has(id) ? 0 : 1, max: 1 }))
  },
  answers: ({ steps }) => lastOf(steps),
  run: (definition, context) =>
    runInOrder(definition, definition.steps, context).then((results) => ({ final: lastSuccess(results) })),
}
