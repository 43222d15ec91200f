import type { FlowStep } from '../../domain/definition/flow-definition.ts'
import type { JournalEntry } from '../../repositories/repository.ts'
import { type FlowExecution, settledResults } from '../flow-run.ts'

type Closed = Pick<JournalEntry, 'closedTurns'>

const NOTHING: Closed = {}

/** The turns of a step that has succeeded, from which the blocks of the vendor are removed. */
export const closedBy = (step: FlowStep, path: string, iteration: number): Closed =>
  isClosed(step) ? { closedTurns: [{ path, iteration }] } : NOTHING

/** The turns of the steps that have failed in a flow which is complete, so that no execution continues them. */
export function unclosedTurns(run: FlowExecution): Closed {
  const closedTurns = settledResults(run).flatMap(({ status, stepId, turns, path, iteration }) => {
    const step = status !== 'SUCCESS' && turns !== undefined && run.definition.steps.find(({ id }) => id === stepId)
    return step && isClosed(step) ? { path, iteration } : []
  })
  return closedTurns.length > 0 ? { closedTurns } : NOTHING
}

const isClosed = ({ tools, keepReasoning }: FlowStep): boolean => tools !== undefined && keepReasoning !== true
