import type { FlowDefinition, FlowStep } from '../../domain/definition/flow-definition.ts'
import type { AnswerStep, Executor } from '../../executors/executor.ts'

/**
 * The runs of steps whose text may be shown as the flow's answer while it is written. Left out are steps that may fail without ending the flow,
 * whose answer is chosen among several, read as a value first, or begun anew after its first words.
 */
export const createAnswerSteps =
  (executors: Readonly<Record<string, Executor>>) =>
  (definition: FlowDefinition): readonly AnswerStep[] => {
    const runs = executors[definition.type]?.answers?.(definition) ?? []
    return runs.filter(({ stepId }) => {
      const step = definition.steps.find(({ id }) => id === stepId)
      return (
        step !== undefined &&
        step.optional !== true &&
        step.outputSchema === undefined &&
        step.fallbackAfterFirstToken !== true &&
        (step.samples ?? 1) === 1
      )
    })
  }

/** The steps of which one gives the answer of the flow, whichever runs; none where that is not known before its end. */
export const createFinalSteps =
  (executors: Readonly<Record<string, Executor>>) =>
  (definition: FlowDefinition): readonly FlowStep[] => {
    const runs = executors[definition.type]?.answers?.(definition) ?? []
    return definition.steps.filter(({ id }) => runs.some(({ stepId }) => stepId === id))
  }
