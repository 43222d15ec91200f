import { DEVELOPMENT_PHASES, type DevelopmentPhase } from '../../../../templates/development-phases.ts'
import { type FlowDefinitionInput, type FlowStepInput, INPUT_WORDS } from '../../../domain/definition/flow-definition.ts'
import type { Agent } from '../agent.ts'
import { ancestorsOf, type ParsedWorkflow, type WorkflowStep } from './workflow.ts'

/** Types of steps that are prompts of agents. */
const PHASES: ReadonlyMap<string, DevelopmentPhase> = new Map(Object.entries(DEVELOPMENT_PHASES))
export const PHASE_TYPES: readonly string[] = [...PHASES.keys()]
/** The function of the operator that a step of type `deployment` calls, if there is one. */
export const DEPLOY_FUNCTION = 'deploy'

/** The phase of a type of steps; `undefined` for a type of the user. */
export const phaseOf = (type: string): DevelopmentPhase | undefined => PHASES.get(type)

/** The agent and the model that answer a step, and the models that are asked if that one fails. */
export interface Assignment {
  readonly agent?: Agent
  /** `provider/model`. */
  readonly model: string
  readonly fallbacks: readonly string[]
}

export interface WorkflowPlan {
  readonly workflow: ParsedWorkflow
  /** Types of steps for which an executor of the user is registered. */
  readonly ownTypes: ReadonlySet<string>
  /** Name of the function that runs their executors. */
  readonly stepFunction: string
  readonly hasDeployFunction: boolean
  /** All registered agents, among which a step of type `agent_assignment` chooses. */
  readonly agents: readonly Agent[]
  /** Repetitions of a failed call by the engine. */
  readonly maxRetries: number
  assign(step: WorkflowStep): Assignment
}

/** The graph flow of a workflow: its steps with their dependencies, as prompts of agents and calls of functions. */
export function toFlowDefinition(plan: WorkflowPlan): FlowDefinitionInput {
  const { workflow, ownTypes, stepFunction, hasDeployFunction } = plan
  const flowIds = toFlowIds(workflow)
  const steps = workflow.steps.map((step): FlowStepInput => {
    const id = flowIds.get(step.id) ?? step.id
    const dependsOn = step.dependencies.map((dependency) => flowIds.get(dependency) ?? dependency)
    const shared = { id, name: step.name ?? step.id, dependsOn }
    if (ownTypes.has(step.type)) return { ...shared, ...functionCall(stepFunction, workflow, step, flowIds) }
    if (step.type === 'deployment' && hasDeployFunction) return { ...shared, ...deployment(workflow, step, flowIds) }
    return { ...shared, ...prompted(plan, step, flowIds) }
  })
  return { name: workflow.name ?? workflow.id, type: 'graph', contextPolicy: { maxSharedTokens: 100_000 }, steps }
}

/** The steps of a workflow by the ids that they have in its flow. */
export function stepsByFlowId(workflow: ParsedWorkflow): ReadonlyMap<string, WorkflowStep> {
  const flowIds = toFlowIds(workflow)
  return new Map(workflow.steps.map((step) => [flowIds.get(step.id) ?? step.id, step]))
}

/** Ids that a flow accepts: those of the workflow where they are such, else numbered ones. */
function toFlowIds({ steps }: ParsedWorkflow): ReadonlyMap<string, string> {
  const isUsable = (id: string) => /^[A-Za-z][A-Za-z0-9_-]{0,63}$/.test(id) && !INPUT_WORDS.some((word) => word === id)
  const taken = new Set(steps.map(({ id }) => id))
  let number = 0
  const nextId = (): string => {
    number += 1
    const id = `step_${number}`
    return taken.has(id) ? nextId() : id
  }
  return new Map(steps.map(({ id }) => [id, isUsable(id) ? id : nextId()]))
}

/** A call of a function with the outputs of all steps before it. */
function functionCall(name: string, workflow: ParsedWorkflow, step: WorkflowStep, flowIds: ReadonlyMap<string, string>) {
  const outputs = ancestorsOf(workflow, step.id).map((id) => flowIds.get(id) ?? id)
  return {
    model: `function/${name}`,
    action: 'run',
    arguments: {
      input: '{{ original }}',
      results: Object.fromEntries(outputs.map((id) => [id, `{{ steps.${id}.output | default: "" }}`])),
    },
  } as const
}

/** Calls the function of the operator, only if every validation before it says that it approves. */
function deployment(workflow: ParsedWorkflow, step: WorkflowStep, flowIds: ReadonlyMap<string, string>) {
  const before = new Set(ancestorsOf(workflow, step.id))
  const validations = workflow.steps.filter(({ id, type }) => type === 'validation' && before.has(id))
  const approvals = validations.map(({ id }) => approves(flowIds.get(id) ?? id))
  return {
    ...functionCall(DEPLOY_FUNCTION, workflow, step, flowIds),
    ...(approvals.length > 0 && { condition: approvals.join(' && ') }),
  }
}

/** The verdict is read as text, because a validation may answer in words, which approve nothing. */
const approves = (id: string): string => {
  const says = (value: boolean) =>
    [`"approved":${value}`, `"approved": ${value}`].map((text) => `steps["${id}"].output.contains('${text}')`).join(' || ')
  return `(${says(true)}) && !(${says(false)})`
}

function prompted(plan: WorkflowPlan, step: WorkflowStep, flowIds: ReadonlyMap<string, string>) {
  const { agent, model, fallbacks } = plan.assign(step)
  const phase: DevelopmentPhase | undefined = PHASES.get(step.type)
  return {
    model,
    action: phase?.action ?? 'generate',
    ...(agent && { system: agent.instructions }),
    prompt: [...materialOf(plan, step, flowIds), instructionOf(step, phase)].join('\n\n'),
    fallbacks: fallbacks.map((fallback) => ({ model: fallback })),
    retryOnFailure: plan.maxRetries > 0,
    maxRetries: plan.maxRetries,
  } as const
}

/** What the step reads stands first, so that steps which read the same share the beginning of their prompts. */
function materialOf({ workflow, agents }: WorkflowPlan, step: WorkflowStep, flowIds: ReadonlyMap<string, string>): string[] {
  const names = new Map(workflow.steps.map(({ id, name }) => [id, name ?? id]))
  const outputs = step.dependencies.map((id) => {
    const label = (names.get(id) ?? id).replace(/[^\p{L}\p{N} _-]/gu, ' ').trim() || 'output'
    return `${label}:\n{{ steps.${flowIds.get(id) ?? id}.output | fence: "${label}" }}`
  })
  const input = 'The input of the workflow:\n{{ original | fence: "input" }}'
  if (step.type !== 'agent_assignment') return [input, ...outputs]
  const team = agents.map(({ id, name, capabilities }) => ({ id, name, capabilities }))
  const listed = JSON.stringify(team.length > 0 ? team : [{ id: 'default', name: 'The only agent', capabilities: [] }])
  return [input, ...outputs, `The agents:\n{% raw %}${listed.replaceAll('{%', '{ %')}{% endraw %}`]
}

function instructionOf({ prompt }: WorkflowStep, phase: DevelopmentPhase | undefined): string {
  const instruction = prompt ?? phase?.instruction ?? ''
  if (prompt !== undefined || !phase?.schema) return instruction
  return `${instruction}\n\nAnswer with JSON alone that fits this JSON Schema:\n${JSON.stringify(phase.schema)}`
}
