import * as z from 'zod'
import type { WritableFlowDefinition, WritableFlowStep } from '../src/domain/definition/flow-definition.ts'
import { defaultModel } from './default-models.ts'
import { DEVELOPMENT_PHASES, type DevelopmentPhaseName } from './development-phases.ts'
import { defineTemplate, modelChoice, parameter } from './template.ts'

/**
 * Development from requirements to deployment: requirements document, tasks with priorities, assignment to agents,
 * execution, validation, deployment, report.
 *
 * - From the development pipeline of VoltAgent's orchestration example: its six phases. There they were simulated; here
 *   each is the call of a model with an answer in its own type, and the deployment the call of a function.
 * - The validator is another model than the one that did the work, because a writer overlooks its own mistakes. It
 *   checks against the requirements document and does not see the tasks, which may have lost a requirement.
 * - Nothing is deployed without approval. Without a function the deployment is a plan, and says `deployed: false`.
 *
 * Data sharing: all default models are of one provider, so that no policy is needed. Models of further providers need
 * `allowCrossProviderContext`. The function runs in the process of the operator.
 */
export const developmentTemplate = defineTemplate({
  name: 'development',
  title: 'Development pipeline',
  description: 'Requirements become tasks, agents are assigned, the work is done, validated and deployed or planned.',
  example: 'A small REST API that stores notes in memory: create, read, list and delete.',
  type: 'sequential',
  parameters: {
    planner: parameter(modelChoice.default(defaultModel('openai')), 'model', 'Analyses, plans, assigns and reports.'),
    worker: parameter(modelChoice.default(defaultModel('openai')), 'model', 'Does the work.'),
    validator: parameter(modelChoice.default(defaultModel('openai', 'second')), 'model', 'Validates the work.'),
    agents: parameter(
      z.string().min(1).max(10_000).default('backend: services and data; frontend: pages; tester: tests'),
      'text',
      'The agents with their capabilities, among which the assignment chooses.',
    ),
    deploy: parameter(
      z
        .string()
        .regex(/^[\w.-]{1,64}$/, 'expected the name of a registered function')
        .optional(),
      'text',
      'Name of the function that deploys approved work. Default: a plan is written, and nothing is deployed.',
    ),
  },
  build({ planner, worker, validator, agents, deploy }) {
    return {
      contextPolicy: { maxSharedTokens: 100_000 },
      steps: [
        { id: 'requirements', ...planner, ...phase('requirement_analysis', REQUIREMENTS) },
        { id: 'tasks', ...planner, ...phase('task_generation', `${REQUIREMENTS}\n\n${DOCUMENT}`) },
        {
          id: 'assignment',
          ...planner,
          ...phase('agent_assignment', `${REQUIREMENTS}\n\n${TASKS}\n\nThe agents:\n${literally(agents)}`),
        },
        { id: 'execution', ...worker, ...phase('execution', `${REQUIREMENTS}\n\n${DOCUMENT}\n\n${TASKS}\n\n${ASSIGNMENT}`) },
        { id: 'validation', ...validator, ...phase('validation', `${REQUIREMENTS}\n\n${DOCUMENT}\n\n${WORK}`) },
        deploy === undefined
          ? { id: 'deployment', ...planner, ...phase('deployment', `${REQUIREMENTS}\n\n${WORK}\n\n${VERDICT}`) }
          : deployment(deploy),
        {
          id: 'report',
          name: 'Report',
          ...planner,
          action: 'summarize',
          prompt: `${REQUIREMENTS}\n\n${WORK}\n\n${VERDICT}\n\n${DEPLOYMENT}\n\n${REPORT}`,
        },
      ],
    }
  },
})

const REQUIREMENTS = 'The requirements:\n{{ original | fence: "requirements" }}'
const DOCUMENT = 'The requirements document:\n{{ steps.requirements.output | fence: "requirements document" }}'
const TASKS = 'The tasks:\n{{ steps.tasks.output | fence: "tasks" }}'
const ASSIGNMENT = 'The assignment:\n{{ steps.assignment.output | fence: "assignment" }}'
const WORK = 'The work:\n{{ steps.execution.output | fence: "work" }}'
const VERDICT = 'The validation:\n{{ steps.validation.output | fence: "validation" }}'
const DEPLOYMENT =
  'The deployment:\n{{ steps.deployment.output | default: "skipped, because the validation did not approve (deployed: false)" | fence: "deployment" }}'

const REPORT = `You write the report to the client, in Markdown, from what the material says and nothing else.
State in one sentence whether the requirements are met, then what was delivered, what the validation found, whether it is deployed (if not: that it is not, and what the plan needs next), and what to watch from now on. Give the whole work at the end, unchanged.`

/** Text of an option, which is no template. */
const literally = (text: string): string => `{% raw %}${text.replaceAll('{%', '{ %')}{% endraw %}`

/** The step of a phase: the material first, then what to do with it. */
function phase(name: DevelopmentPhaseName, material: string) {
  const { name: title, action, instruction, ...typed } = DEVELOPMENT_PHASES[name]
  const outputSchema = 'schema' in typed ? { outputSchema: typed.schema } : {}
  return { name: title, action, prompt: `${material}\n\n${instruction}`, ...outputSchema }
}

/** The call of the operator's function, only for approved work. */
const deployment = (name: string): WritableFlowStep => ({
  id: 'deployment',
  name: DEVELOPMENT_PHASES.deployment.name,
  model: `function/${name}`,
  action: 'run',
  condition: 'steps.validation.parsed.approved',
  arguments: {
    input: '{{ original }}',
    results: { execution: '{{ steps.execution.output }}', validation: '{{ steps.validation.parsed }}' },
  },
})

export type DevelopmentOptions = NonNullable<Parameters<typeof developmentTemplate.create>[0]>

/** Returns the definition of the development pipeline. Takes no argument, or one options object. */
export const createDevelopmentFlow = (options?: DevelopmentOptions): WritableFlowDefinition => developmentTemplate.create(options)
