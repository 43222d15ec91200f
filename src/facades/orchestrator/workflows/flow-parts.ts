import { INPUT_WORDS, MAX_STEPS } from '../../../domain/definition/flow-definition.ts'
import { OrchestratorError } from '../../../errors/orchestrator-error.ts'
import { ancestorsOf, type ParsedWorkflow, type WorkflowStep } from './workflow.ts'

/**
 * One step of a flow that does a step of a workflow. A step whose agent an `agent_assignment` decides has several: one
 * for each agent that may be named, and one without `assignee` that runs where no agent is named.
 */
export interface FlowPart {
  /** Id of the step in the flow. */
  readonly flowId: string
  readonly step: WorkflowStep
  /** Id of the agent; the part runs only if the assignment names it. */
  readonly assignee?: string
}

/** Stands between the texts of several agents that did one step. */
export const BETWEEN_TEXTS = '\n\n'

/** Type of the steps that choose the agents of later ones. */
const ASSIGNING_TYPE = 'agent_assignment'
/** Type of the steps whose agents are chosen by them. */
const ASSIGNED_TYPE = 'execution'

/** The steps of type `agent_assignment` that decide who does a step. */
export const assignmentsBefore = (workflow: ParsedWorkflow, step: WorkflowStep): readonly WorkflowStep[] => {
  if (step.type !== ASSIGNED_TYPE || step.agent !== undefined) return []
  const before = new Set(ancestorsOf(workflow, step.id))
  return workflow.steps.filter(({ id, type }) => type === ASSIGNING_TYPE && before.has(id))
}

/** Agents among which one assignment chooses: a condition has lists of at most 100 values. */
const MAX_ASSIGNEES = 100

/**
 * The workflow with the agents among which its assignments choose. It is stored with them, because agents may come and
 * go before another process reads it. `candidates`: ids of the agents that may do a step. Throws FLOW_INVALID for more
 * agents of a step, or more steps with those of the agents, than a flow can have.
 */
export function withAssignees(
  workflow: ParsedWorkflow,
  ownTypes: ReadonlySet<string>,
  candidates: (step: WorkflowStep) => readonly string[],
): ParsedWorkflow {
  const steps = workflow.steps.map(({ assignees: _, ...step }): WorkflowStep => {
    if (ownTypes.has(step.type) || assignmentsBefore(workflow, step).length === 0) return step
    const assignees = candidates(step)
    if (assignees.length > MAX_ASSIGNEES) {
      const message = `expected at most ${MAX_ASSIGNEES} agents among which an assignment chooses, found ${assignees.length}`
      throw tooMany(`Step "${step.id}"`, message)
    }
    // With one agent there is nothing to decide.
    return assignees.length > 1 ? { ...step, assignees: [...assignees] } : step
  })
  const assigned = steps.reduce((sum, { assignees = [] }) => sum + assignees.length, 0)
  if (assigned > 0 && steps.length + assigned > MAX_STEPS) {
    const found = `${steps.length}, and ${assigned} for the agents among which assignments choose`
    throw tooMany(`Workflow "${workflow.id}"`, `expected at most ${MAX_STEPS} steps, found ${found}`)
  }
  return { ...workflow, steps }
}

const tooMany = (subject: string, message: string): OrchestratorError =>
  new OrchestratorError('FLOW_INVALID', `${subject}: ${message}; name the agent of the step, or what it needs`)

/**
 * The steps of the flow of a workflow, in its order. Ids are those of the workflow where a flow accepts them, and
 * numbered ones elsewhere.
 */
export function flowPartsOf({ steps }: ParsedWorkflow): readonly FlowPart[] {
  const taken = new Set(steps.map(({ id }) => id))
  let number = 0
  const nextId = (): string => {
    number += 1
    const id = `step_${number}`
    return taken.has(id) ? nextId() : id
  }
  const partId = (flowId: string, position: number): string => {
    const id = `${flowId}_${position}`
    if (!isUsable(id) || taken.has(id)) return nextId()
    taken.add(id)
    return id
  }
  return steps.flatMap((step): readonly FlowPart[] => {
    const flowId = isUsable(step.id) ? step.id : nextId()
    const assigned = (step.assignees ?? []).map((assignee, index) => ({ flowId: partId(flowId, index + 1), step, assignee }))
    return [{ flowId, step }, ...assigned]
  })
}

const isUsable = (id: string): boolean => /^[A-Za-z][A-Za-z0-9_-]{0,63}$/.test(id) && !INPUT_WORDS.some((word) => word === id)

/** The parts of each step of a workflow, by id of the step. */
export function partsByStep(parts: readonly FlowPart[]): ReadonlyMap<string, readonly FlowPart[]> {
  const found = new Map<string, FlowPart[]>()
  for (const part of parts) found.set(part.step.id, [...(found.get(part.step.id) ?? []), part])
  return found
}
