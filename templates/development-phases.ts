import type { JsonSchema } from '../src/domain/execution/model-call.ts'
import type { StepAction } from '../src/domain/vocabulary.ts'

/** One phase of the development pipeline as the prompt of a model. */
export interface DevelopmentPhase {
  readonly name: string
  readonly action: StepAction
  /** What the model has to do, after the material. */
  readonly instruction: string
  /** Schema of its answer; absent where the answer is a text. */
  readonly schema?: JsonSchema
}

const text = (description: string): JsonSchema => ({ type: 'string', description })

const list = (key: string, properties: Readonly<Record<string, JsonSchema>>): JsonSchema => ({
  type: 'object',
  properties: {
    [key]: {
      type: 'array',
      minItems: 1,
      items: { type: 'object', properties, required: Object.keys(properties), additionalProperties: false },
    },
  },
  required: [key],
  additionalProperties: false,
})

/** The phases of the development pipeline, in their order. The template and the facade `Orchestrator` share them. */
export const DEVELOPMENT_PHASES = {
  requirement_analysis: {
    name: 'Requirements',
    action: 'analyze',
    instruction: `You analyse requirements and write the product requirements document (PRD), in Markdown.
State the purpose, the users, the functional requirements (numbered, each testable), the constraints, what is out of scope, the assumptions you had to make, and the questions that only the client can answer. Add nothing that the requirements do not ask for.`,
  },
  task_generation: {
    name: 'Tasks',
    action: 'extract',
    instruction: `You split requirements into tasks. Each task is one unit of work with a result that can be checked.
Give the tasks in the order in which they can be done. A task that others need, or that carries the greatest risk, has a high priority.`,
    schema: list('tasks', {
      id: text('T1, T2, …'),
      title: text('The work in a few words.'),
      description: text('What has to be there when the task is done.'),
      priority: { type: 'string', enum: ['high', 'medium', 'low'] },
    }),
  },
  agent_assignment: {
    name: 'Assignment',
    action: 'analyze',
    instruction: `You assign every task to the agent whose capabilities fit it best. Use only the agents that are listed; where none fits better than another, spread the tasks evenly.`,
    schema: list('assignments', {
      task: text('Id of the task.'),
      agent: text('Id of the agent.'),
      reason: text('Why this agent, in a few words.'),
    }),
  },
  execution: {
    name: 'Execution',
    action: 'generate',
    instruction: `You carry out the work that the material describes, all of it, in the order of the priorities where there are any.
Deliver the result itself (code, text, configuration), complete and ready to use, not a description of it.`,
  },
  validation: {
    name: 'Validation',
    action: 'validate',
    instruction: `You validate work against its requirements. Check each requirement by itself: is it met, not met, or not to be decided from here? Check that the parts fit together. You do not rewrite the work.
Approve only if every requirement is met.`,
    schema: {
      type: 'object',
      properties: {
        issues: { type: 'array', items: { type: 'string' }, description: 'What is wrong, one point each; empty if nothing is.' },
        feedback: text('What to change.'),
        score: { type: 'number', description: 'From 0 to 1: the part of the requirements that is met.' },
        approved: { type: 'boolean', description: 'Whether the work can be deployed as it is.' },
      },
      required: ['issues', 'feedback', 'score', 'approved'],
      additionalProperties: false,
    },
  },
  deployment: {
    name: 'Deployment',
    action: 'generate',
    instruction: `You write the plan of a deployment; nothing is deployed by you. Give the steps, how each is verified, how to roll back, and what to watch afterwards with the values that should raise an alarm.`,
    schema: {
      type: 'object',
      properties: {
        deployed: { type: 'boolean', const: false, description: 'Always false, because this is only the plan.' },
        plan: text('The plan in Markdown.'),
      },
      required: ['deployed', 'plan'],
      additionalProperties: false,
    },
  },
} as const satisfies Readonly<Record<string, DevelopmentPhase>>

export type DevelopmentPhaseName = keyof typeof DEVELOPMENT_PHASES
