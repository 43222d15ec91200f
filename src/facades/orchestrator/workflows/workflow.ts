import * as z from 'zod'
import type { DefinitionProblem } from '../../../domain/definition/flow-definition.ts'
import { definitionError, toProblems } from '../../../domain/definition/problems.ts'
import { findSuggestion } from '../../../domain/definition/suggestion.ts'
import { OrchestratorError } from '../../../errors/orchestrator-error.ts'

/** Characters of the type of a step. */
export const MAX_TYPE_LENGTH = 200

const stepSchema = z.looseObject({
  /** Unique within the workflow. */
  id: z.string().min(1).max(200),
  name: z.string().min(1).max(200).optional(),
  /** A phase of development, or a type for which an executor is registered. */
  type: z.string().min(1).max(MAX_TYPE_LENGTH),
  /** Ids of steps whose outputs the step reads, and after which it runs. */
  dependencies: z.array(z.string()).max(100).default([]),
  /** Replaces the instruction of the type; a Liquid template. */
  prompt: z.string().max(200_000).optional(),
  /** Id of the agent; default: the load balancer chooses one. */
  agent: z.string().min(1).optional(),
  /** Capabilities that the agent must have. */
  needs: z.array(z.string().min(1)).max(100).optional(),
  /** Ids of the agents among which an `agent_assignment` before the step chooses. Set by the orchestrator. */
  assignees: z.array(z.string()).optional(),
})

const workflowSchema = z.looseObject({
  id: z.string().min(1).max(200),
  name: z.string().min(1).max(200).optional(),
  steps: z.array(stepSchema).min(1, 'expected at least one step').max(500),
})

/** A workflow as users write it. Further fields are kept for the executors of the user. */
export type Workflow = z.input<typeof workflowSchema>
/** A step of a workflow, as executors of the user receive it. */
export type WorkflowStep = z.output<typeof stepSchema>
export type ParsedWorkflow = z.output<typeof workflowSchema>

/** What one execution of a workflow has done so far, or in the end. */
export interface WorkflowExecution {
  /** Id of the execution, which is the id of its flow. */
  readonly id: string
  readonly workflowId: string
  readonly status: 'pending' | 'running' | 'completed' | 'failed' | 'cancelled'
  readonly startTime: Date
  readonly endTime?: Date
  /** Id of the step that started last and has not ended. */
  readonly currentStep?: string
  readonly completedSteps: readonly string[]
  readonly failedSteps: readonly string[]
  /** By id of the step: its value where it has one, otherwise its text. */
  readonly results: Readonly<Record<string, unknown>>
  readonly error?: OrchestratorError
  /** Whether the simulator answered any step. */
  readonly simulated: boolean
}

/**
 * The checked workflow, each step after those on which it depends. Throws FLOW_INVALID with the path of every unknown
 * type, repeated id, and unknown or cyclic dependency.
 */
export function parseWorkflow(workflow: unknown, types: readonly string[]): ParsedWorkflow {
  const shaped = workflowSchema.safeParse(workflow)
  if (!shaped.success) throw definitionError(toProblems(workflowSchema, shaped.error.issues, workflow))
  const problems = [...findStepProblems(shaped.data, types)]
  if (problems.length === 0) problems.push(...findCycle(shaped.data))
  if (problems.length > 0) throw definitionError(problems)
  if (!isJson(shaped.data)) throw definitionError([toProblem('definition', 'expected values that JSON can hold', undefined)])
  return { ...shaped.data, steps: [...inOrder(shaped.data.steps)] }
}

/** A workflow as it is stored with its flow; `undefined` for anything else. */
export const readWorkflow = (stored: unknown): ParsedWorkflow | undefined => workflowSchema.safeParse(stored).data

/** The input is stored with the execution. Throws INPUT_INVALID for what cannot be. */
export function assertWorkflowInput(input: unknown): void {
  if (input === undefined || isJson(input)) return
  throw new OrchestratorError('INPUT_INVALID', 'executeWorkflow: input: expected a value that JSON can hold')
}

function isJson(value: unknown): boolean {
  try {
    return JSON.stringify(value) !== undefined
  } catch {
    return false
  }
}

function* findStepProblems({ steps }: ParsedWorkflow, types: readonly string[]): Iterable<DefinitionProblem> {
  const ids = steps.map(({ id }) => id)
  for (const [index, { id, type, dependencies }] of steps.entries()) {
    const path = `steps[${index}]`
    const first = ids.indexOf(id)
    if (first !== index) yield { path: `${path}.id`, message: `expected an id of its own, found "${id}" of steps[${first}]` }
    if (!types.includes(type)) {
      const message = `expected a type with an executor (${types.join(', ')}), found "${type}"`
      yield toProblem(`${path}.type`, message, findSuggestion(type, types))
    }
    for (const [position, dependency] of dependencies.entries()) {
      if (ids.includes(dependency)) continue
      const message = `expected the id of a step, found "${dependency}"`
      yield toProblem(`${path}.dependencies[${position}]`, message, findSuggestion(dependency, ids))
    }
  }
}

const toProblem = (path: string, message: string, suggestion: string | undefined): DefinitionProblem =>
  suggestion === undefined ? { path, message } : { path, message, suggestion }

/** The steps, each after those on which it depends, as flows need them; without those of a cycle. */
function inOrder(steps: readonly WorkflowStep[]): readonly WorkflowStep[] {
  const left = new Map(steps.map((step) => [step.id, step]))
  const ordered: WorkflowStep[] = []
  for (let before = -1; before !== left.size; ) {
    before = left.size
    for (const [id, step] of left) {
      if (step.dependencies.some((dependency) => left.has(dependency))) continue
      left.delete(id)
      ordered.push(step)
    }
  }
  return ordered
}

function findCycle({ steps }: ParsedWorkflow): readonly DefinitionProblem[] {
  const ordered = new Set(inOrder(steps))
  const left = new Map(steps.filter((step) => !ordered.has(step)).map((step) => [step.id, step]))
  const walked: string[] = []
  let id = left.keys().next().value
  while (id !== undefined && !walked.includes(id)) {
    walked.push(id)
    id = left.get(id)?.dependencies.find((dependency) => left.has(dependency))
  }
  if (id === undefined) return []
  const cycle = [...walked.slice(walked.indexOf(id)), id]
  const message = `expected dependencies without a cycle, found ${cycle.map((step) => `"${step}"`).join(' → ')}`
  return [{ path: `steps[${steps.findIndex((step) => step.id === id)}].dependencies`, message }]
}

/** Ids of all steps on which a step depends, directly or through others, in the order of the workflow. */
export function ancestorsOf({ steps }: ParsedWorkflow, id: string): readonly string[] {
  const byId = new Map(steps.map((step) => [step.id, step]))
  const found = new Set<string>()
  const visit = (step: string): void => {
    for (const dependency of byId.get(step)?.dependencies ?? []) {
      if (found.has(dependency)) continue
      found.add(dependency)
      visit(dependency)
    }
  }
  visit(id)
  return steps.flatMap((step) => (found.has(step.id) ? [step.id] : []))
}
