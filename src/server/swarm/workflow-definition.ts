import * as z from 'zod'
import type { FlowDefinitionInput, FlowStepInput } from '../../domain/definition/flow-definition.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import type { AgentDirectory } from '../../orchestrator/agents/agent-directory.ts'
import { MAX_TASK_INPUT, type NewWorkflow, type NewWorkflowTask } from '../../protocol/workflow.ts'
import { orderTasks, refused } from './task-order.ts'

const INPUT_START = 1_000
/** Models refuse an empty prompt, and a task without input is one whose role says everything. */
const NO_INPUT = 'Do your part of this workflow. The task has no further input.'

/** What is stored with the flow of a workflow, so that it can be shown as it was submitted. */
export const storedWorkflow = z.object({
  type: z.string(),
  metadata: z.record(z.string(), z.unknown()),
  tasks: z.array(
    z.object({
      stepId: z.string(),
      agentId: z.string(),
      /** As it was submitted. */
      role: z.string(),
      /** The agent that is meant, where its id is another text. */
      agent: z.string().optional(),
      inputs: z.array(z.string()),
    }),
  ),
})
export type StoredWorkflow = z.output<typeof storedWorkflow>

export interface WorkflowFlow {
  readonly definition: FlowDefinitionInput
  readonly stored: StoredWorkflow
}

/**
 * The definition of the flow that does the work of a workflow. Step ids are numbered, because a submitted name may be
 * any text. Throws INPUT_INVALID for dependencies that cannot be kept and input that is too long, and AGENT_NOT_FOUND.
 */
export function toWorkflowFlow(workflow: NewWorkflow, agents: Pick<AgentDirectory, 'get' | 'list'>): WorkflowFlow {
  const inputs = orderTasks(workflow)
  const { workflow_type: type, tasks, metadata } = workflow
  const stepIds = new Map(tasks.map(({ agent_id: agentId }, index) => [agentId, `task${index + 1}`]))
  const meant = tasks.map(({ agent_role: role }, index) => findAgent(role, index, agents))
  const toStep = (task: NewWorkflowTask, index: number): FlowStepInput => {
    const { agent_role: role, llm_model: model, temperature, system_prompt: system } = task
    return {
      id: `task${index + 1}`,
      name: task.agent_id,
      agent: meant[index] ?? role,
      action: 'generate',
      ...(model !== undefined && { model }),
      ...(system !== undefined && { system: literally(system) }),
      ...(temperature !== undefined && { settings: { temperature } }),
      inputFrom: 'original',
      prompt: toPrompt(task, index, inputs.get(task.agent_id) ?? [], stepIds),
    }
  }
  const byName = new Map(tasks.map((task, index) => [task.agent_id, toStep(task, index)]))
  // A step of a definition may read only steps before it.
  const steps = [...inputs.keys()].flatMap((agentId) => byName.get(agentId) ?? [])
  return {
    definition: {
      name: `workflow: ${type}`,
      type: type === 'sequential' ? 'sequential' : 'graph',
      steps,
      input: textOf(tasks[0]?.input_data ?? {}).slice(0, INPUT_START) || `A ${type} workflow`,
      // Every prompt is complete: it holds its task and the results that it needs.
      contextPolicy: { includeOriginalPrompt: false },
      ...(type !== 'sequential' && { parallel: { onFailure: 'continue' } }),
    },
    stored: {
      type,
      metadata,
      tasks: tasks.map(({ agent_id: agentId, agent_role: role }, index) => ({
        stepId: `task${index + 1}`,
        agentId,
        role,
        ...(meant[index] !== role && { agent: meant[index] }),
        inputs: [...(inputs.get(agentId) ?? [])],
      })),
    },
  }
}

/** The id of the agent that a role names: the same text, or the only one that differs in nothing but its capitals. */
function findAgent(role: string, index: number, agents: Pick<AgentDirectory, 'get' | 'list'>): string {
  try {
    return agents.get(role).id
  } catch (error) {
    const similar = agents.list().filter(({ id }) => id.toLowerCase() === role.toLowerCase())
    if (similar.length === 1 && similar[0]) return similar[0].id
    if (!OrchestratorError.is(error)) throw error
    const at = `tasks[${index}].agent_role`
    throw new OrchestratorError(error.code, `${at}: ${error.message}`, { details: { ...error.details, param: at } })
  }
}

/** The task, then every result that it needs. A result that is read must exist: without it the step is skipped. */
function toPrompt(
  { input_data: input }: NewWorkflowTask,
  index: number,
  inputs: readonly string[],
  stepIds: ReadonlyMap<string, string>,
): string {
  const text = textOf(input)
  if (text.length > MAX_TASK_INPUT) {
    throw refused(`tasks[${index}].input_data`, `expected at most ${MAX_TASK_INPUT} characters, found ${text.length}`)
  }
  const results = inputs.map((agentId) => {
    const label =
      agentId
        .replace(/[^A-Za-z0-9_. -]+/g, ' ')
        .slice(0, 30)
        .trim() || 'task'
    return `{{ steps.${stepIds.get(agentId)}.output | fence: "${label}" }}`
  })
  const task = text === '' ? NO_INPUT : literally(text)
  return [task, ...(results.length > 0 ? ['Results of earlier tasks:', ...results] : [])].join('\n\n')
}

/** The text of a task: `task`, and everything else of its input as JSON. */
function textOf({ task, ...rest }: Readonly<Record<string, unknown>>): string {
  const isText = typeof task === 'string' && task.trim() !== ''
  const data = isText ? rest : { ...(task !== undefined && { task }), ...rest }
  const json = Object.keys(data).length > 0 ? [`\`\`\`json\n${JSON.stringify(data, undefined, 2)}\n\`\`\``] : []
  return [...(isText ? [task] : []), ...json].join('\n\n')
}

/** A template that renders as exactly this text, whatever marks it contains. */
const literally = (text: string): string =>
  /\{[{%]/.test(text) ? `{% raw %}${text.replace(/\{%(?=-?\s*endraw)/g, '{% endraw %}{{ "{%" }}{% raw %}')}{% endraw %}` : text
