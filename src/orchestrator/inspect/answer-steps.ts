import type { AnswerStep } from '../../domain/answers/answer-text.ts'
import type { FlowDefinition, FlowStep } from '../../domain/definition/flow-definition.ts'
import { isOwnTool, isRunStep } from '../../domain/tools/tool-fields.ts'
import { isWaitingStep } from '../../domain/waiting/waiting-steps.ts'
import type { Executor } from '../../executors/executor.ts'

/**
 * The runs of steps whose text may be streamed as the flow's answer. Leaves out steps whose failure does not end the
 * flow, whose answer is chosen among samples, read as a value or made by an operation, or which may restart after their
 * first text.
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
        !isWaitingStep(step) &&
        !isRunStep(step) &&
        step.outputSchema === undefined &&
        // Text beside a call of a tool is no part of the answer.
        !step.tools?.some(isOwnTool) &&
        step.fallbackAfterFirstToken !== true &&
        (step.samples ?? 1) === 1
      )
    })
  }

/** The steps one of which writes the flow's answer; empty if that step is known only at the end. */
export const createFinalSteps =
  (executors: Readonly<Record<string, Executor>>) =>
  (definition: FlowDefinition): readonly FlowStep[] => {
    const runs = executors[definition.type]?.answers?.(definition) ?? []
    return definition.steps.filter(({ id }) => runs.some(({ stepId }) => stepId === id))
  }
