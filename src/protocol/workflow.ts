import * as z from 'zod'
import { findSuggestion, withSuggestion } from '../domain/definition/suggestion.ts'
import { arrayOf, id, queryInteger } from './instant.ts'

export const WORKFLOW_TYPES = ['sequential', 'parallel', 'graph'] as const
export type WorkflowTypeName = (typeof WORKFLOW_TYPES)[number]

/** `partial`: the workflow has ended, and some of its tasks have failed while others have a result. */
export const WORKFLOW_STATUSES = ['pending', 'running', 'completed', 'failed', 'partial', 'cancelled'] as const
export type WorkflowStatus = (typeof WORKFLOW_STATUSES)[number]

export const MAX_WORKFLOW_TASKS = 500
/** Characters of one `input_data` as JSON. With the texts around it, it must fit into the prompt of a step. */
export const MAX_TASK_INPUT = 150_000
export const MAX_LISTED_WORKFLOWS = 100

const data = z.record(z.string(), z.unknown())

const taskFields = {
  /** Names the task in this workflow; any text of 1 to 200 characters that no other task has. */
  agent_id: id,
  /**
   * The agent that does the task: a built-in role or any other registered agent. Capitals do not count where one agent
   * is meant.
   */
  agent_role: id,
  /** `task` is the text for the agent; everything else is added as JSON. */
  input_data: data.default({}),
  /** `agent_id` of the tasks whose results this one needs. */
  depends_on: z.array(id).max(100).default([]),
  /** Model in place of that of the agent: `provider/model`, or the name alone at the provider of the agent. */
  llm_model: z.string().min(1).max(200).optional(),
  temperature: z.number().min(0).max(2).optional(),
  /** System prompt in place of that of the agent: a text, in which nothing is replaced. */
  system_prompt: z.string().max(MAX_TASK_INPUT).optional(),
}

/**
 * A task to submit. Clients may send further fields, which are ignored, but no field in another spelling in place of
 * the one that it means: the task would run without its input or the results that it needs.
 */
export const newWorkflowTask = z.looseObject(taskFields).superRefine((task, context) => {
  for (const name of Object.keys(task)) {
    const meant = name in taskFields ? undefined : meantField(name)
    if (meant === undefined || !isEmpty(task[meant])) continue
    context.addIssue({ code: 'custom', path: [name], message: withSuggestion('expected a field of tasks', meant) })
  }
})
export type NewWorkflowTask = z.output<typeof newWorkflowTask>

const letters = (name: string): string => name.toLowerCase().replace(/[^a-z]/g, '')

const isEmpty = (value: unknown): boolean =>
  value === undefined || (typeof value === 'object' && value !== null && Object.keys(value).length === 0)

/** The field of a task that a name is another spelling of: `dependsOn`, `dependencies`, `System-Prompt`. */
function meantField(name: string): string | undefined {
  const same = Object.keys(taskFields).find((field) => letters(field) === letters(name))
  return same ?? (/^depend/i.test(name) ? 'depends_on' : findSuggestion(name, ['depends_on']))
}

export const newWorkflow = z.object({
  workflow_type: z.enum(WORKFLOW_TYPES),
  tasks: z.array(newWorkflowTask).min(1, 'expected at least one task').max(MAX_WORKFLOW_TASKS),
  /** Kept with the workflow and given back with it. */
  metadata: data.default({}),
})
export type NewWorkflow = z.output<typeof newWorkflow>

export const workflowTask = z.object({
  /** The same as `agent_id`. */
  task_id: z.string(),
  /** As it was submitted. */
  agent_id: z.string(),
  agent_role: z.string(),
  /** Id of the agent that does the task. */
  agent: z.string(),
  status: z.enum(['pending', 'running', 'completed', 'failed', 'skipped', 'cancelled']),
  depends_on: arrayOf(z.string()),
  /** ISO 8601, as every instant here. */
  started_at: z.string().nullable(),
  completed_at: z.string().nullable(),
  result: z
    .object({
      output: z.string(),
      provider: z.string(),
      model: z.string(),
      /** US dollars; null where the price is unknown. */
      cost_usd: z.number().nullable(),
      total_tokens: z.number().nullable(),
      simulated: z.boolean(),
    })
    .nullable(),
  error: z.object({ code: z.string(), message: z.string() }).nullable(),
})
export type WorkflowTask = z.output<typeof workflowTask>

export const workflow = z.object({
  /** Id of the flow that does the work, which every other part of the API knows by it. */
  workflow_id: z.string(),
  workflow_type: z.string(),
  status: z.enum(WORKFLOW_STATUSES),
  created_at: z.string(),
  started_at: z.string().nullable(),
  completed_at: z.string().nullable(),
  tasks: arrayOf(workflowTask),
  /** The error that ended the workflow. */
  error: z.object({ code: z.string(), message: z.string() }).nullable(),
  metadata: data,
})
export type WorkflowReport = z.output<typeof workflow>

export const workflowParams = z.object({ workflowId: z.string().min(1).max(200) })

export const workflowListQuery = z.object({
  status: z.enum(WORKFLOW_STATUSES).optional(),
  limit: queryInteger(1, MAX_LISTED_WORKFLOWS).default(MAX_LISTED_WORKFLOWS),
})

export const workflowDeletion = z.object({
  /** `true`: a running workflow is cancelled first. */
  force: z.enum(['true', 'false']).default('false'),
})

export const deletedWorkflow = z.object({ workflow_id: z.string(), deleted: z.literal(true), message: z.string() })
