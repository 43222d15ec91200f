import { DEVELOPMENT_PHASES, type DevelopmentPhase } from '../../../../templates/development-phases.ts'
import type { FlowDefinitionInput, FlowStepInput } from '../../../domain/definition/flow-definition.ts'
import type { Agent } from '../agent.ts'
import { assignmentsBefore, BETWEEN_TEXTS, type FlowPart, flowPartsOf, partsByStep } from './flow-parts.ts'
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
  assign(part: FlowPart): Assignment
}

/** The graph flow of a workflow: its steps with their dependencies, as prompts of agents and calls of functions. */
export function toFlowDefinition(plan: WorkflowPlan): FlowDefinitionInput {
  const { workflow, ownTypes, stepFunction, hasDeployFunction } = plan
  const parts = flowPartsOf(workflow)
  const known: KnownParts = { workflow, byStep: partsByStep(parts) }
  const steps = parts.map((part): FlowStepInput => {
    const { flowId: id, step } = part
    const dependsOn = step.dependencies.flatMap((dependency) => flowIdsOf(known, dependency))
    const shared = { id, name: step.name ?? step.id, dependsOn }
    if (ownTypes.has(step.type)) return { ...shared, ...functionCall(stepFunction, known, step) }
    if (step.type === 'deployment' && hasDeployFunction) return { ...shared, ...deployment(known, step) }
    return { ...shared, ...prompted(plan, known, part) }
  })
  return { name: workflow.name ?? workflow.id, type: 'graph', contextPolicy: { maxSharedTokens: 100_000 }, steps }
}

interface KnownParts {
  readonly workflow: ParsedWorkflow
  /** The steps of the flow, by id of the step of the workflow. */
  readonly byStep: ReadonlyMap<string, readonly FlowPart[]>
}

const flowIdsOf = ({ byStep }: KnownParts, id: string): readonly string[] => (byStep.get(id) ?? []).map(({ flowId }) => flowId)

/** A call of a function with the outputs of all steps before it, by id of the step in the flow. */
function functionCall(name: string, known: KnownParts, step: WorkflowStep) {
  const outputs = ancestorsOf(known.workflow, step.id).map((id) => flowIdsOf(known, id))
  return {
    model: `function/${name}`,
    action: 'run',
    arguments: {
      input: '{{ original }}',
      results: Object.fromEntries(outputs.map(([id = '', ...others]) => [id, outputOf([id, ...others])])),
    },
  } as const
}

/** A template of the output of a step, which is empty if it has none; the texts of several agents are one text. */
function outputOf(flowIds: readonly string[]): string {
  const [first = '', ...others] = flowIds
  if (others.length === 0) return `{{ steps.${first}.output | default: "" }}`
  const texts = flowIds.map((id) => `{% if steps.${id}.output %}{{ steps.${id}.output }}${BETWEEN_TEXTS}{% endif %}`)
  return `{% capture texts %}${texts.join('')}{% endcapture %}{{ texts | strip }}`
}

/** Calls the function of the operator, only if every validation before it says that it approves. */
function deployment(known: KnownParts, step: WorkflowStep) {
  const before = new Set(ancestorsOf(known.workflow, step.id))
  const validations = known.workflow.steps.filter(({ id, type }) => type === 'validation' && before.has(id))
  const approvals = validations.flatMap(({ id }) => flowIdsOf(known, id).map(approves))
  return {
    ...functionCall(DEPLOY_FUNCTION, known, step),
    ...(approvals.length > 0 && { condition: approvals.join(' && ') }),
  }
}

/** A validation may answer in words, which approve nothing. */
const approves = (id: string): string =>
  `${valuesOf(id, 'approved')}.exists(v, v == true) && ${valuesOf(id, 'approved')}.all(v, v == true)`

/** In a condition: the values of a field in the JSON of the output of a step, whatever text is around it. */
const valuesOf = (flowId: string, field: string): string => `steps["${flowId}"].output.jsonValues(${JSON.stringify(field)})`

/**
 * An assignee does the step if an assignment names it. The part without an assignee runs if no assignee is named, and
 * for the tasks of agents that are not registered or lack what the step needs.
 */
function decided(known: KnownParts, { step, assignee }: FlowPart): { readonly condition?: string } {
  const { assignees = [] } = step
  if (assignees.length === 0) return {}
  const assignments = assignmentsBefore(known.workflow, step).flatMap(({ id }) => flowIdsOf(known, id))
  const some = (test: string) => assignments.map((flowId) => `${valuesOf(flowId, 'agent')}.exists(v, ${test})`).join(' || ')
  if (assignee !== undefined) return { condition: some(`v == ${JSON.stringify(assignee)}`) }
  const count = assignments.map((flowId) => `${valuesOf(flowId, 'agent')}.size()`).join(' + ')
  return { condition: `${count} == 0 || ${some(`!(v in ${JSON.stringify(assignees)})`)}` }
}

function prompted(plan: WorkflowPlan, known: KnownParts, part: FlowPart) {
  const { step, assignee } = part
  const { agent, model, fallbacks } = plan.assign(part)
  const phase: DevelopmentPhase | undefined = PHASES.get(step.type)
  const own = assignee === undefined ? othersOf(step) : [`${OWN_TASKS} to you: you are the agent ${quoted(assignee)}.`]
  return {
    model,
    action: phase?.action ?? 'generate',
    ...decided(known, part),
    ...(agent && { system: agent.instructions }),
    prompt: [...materialOf(plan, known, step), instructionOf(step, phase), ...own].join('\n\n'),
    fallbacks: fallbacks.map((fallback) => ({ model: fallback })),
    retryOnFailure: plan.maxRetries > 0,
    maxRetries: plan.maxRetries,
  } as const
}

const OWN_TASKS = 'Do only the tasks that the assignment gives'

/** What the part without an assignee leaves to the others. */
const othersOf = ({ assignees }: WorkflowStep): string[] =>
  assignees ? [`${OWN_TASKS} to none of these agents, which do their own: ${literally(JSON.stringify(assignees))}.`] : []

/** What the step reads stands first, so that steps which read the same share the beginning of their prompts. */
function materialOf({ workflow, agents }: WorkflowPlan, known: KnownParts, step: WorkflowStep): string[] {
  const names = new Map(workflow.steps.map(({ id, name }) => [id, name ?? id]))
  const outputs = step.dependencies.flatMap((id) => {
    const parts = known.byStep.get(id) ?? []
    return parts.map(({ flowId, assignee }) => {
      const title = [names.get(id) ?? id, ...(assignee === undefined ? [] : [assignee])].join(' ')
      const label = title.replace(/[^\p{L}\p{N} _-]/gu, ' ').trim() || 'output'
      const output = `${label}:\n{{ steps.${flowId}.output | fence: "${label}" }}`
      // Of several agents only some have worked; an output that is read outside of a condition must exist.
      return parts.length === 1 ? output : `{% if steps.${flowId}.output %}${output}{% endif %}`
    })
  })
  const input = 'The input of the workflow:\n{{ original | fence: "input" }}'
  if (step.type !== 'agent_assignment') return [input, ...outputs]
  const team = agents.map(({ id, name, capabilities }) => ({ id, name, capabilities }))
  const listed = JSON.stringify(team.length > 0 ? team : [{ id: 'default', name: 'The only agent', capabilities: [] }])
  return [input, ...outputs, `The agents:\n${literally(listed)}`]
}

/** A template that renders as the text, in which no marks of templates are left. */
const literally = (text: string): string => `{% raw %}${text.replaceAll('{%', '{ %')}{% endraw %}`

const quoted = (id: string): string => literally(JSON.stringify(id))

function instructionOf({ prompt }: WorkflowStep, phase: DevelopmentPhase | undefined): string {
  const instruction = prompt ?? phase?.instruction ?? ''
  if (prompt !== undefined || !phase?.schema) return instruction
  return `${instruction}\n\nAnswer with JSON alone that fits this JSON Schema:\n${JSON.stringify(phase.schema)}`
}
