import { inputError } from '../polyphony-error.ts'
import type { WorkflowReport } from '../wire.ts'

/** How the tasks of a workflow run: one after another, all at once, or each after those that it depends on. */
export const WorkflowType = { SEQUENTIAL: 'sequential', PARALLEL: 'parallel', GRAPH: 'graph' } as const
export type WorkflowType = (typeof WorkflowType)[keyof typeof WorkflowType]

/** A task of a workflow to submit. */
export interface WorkflowTaskInput {
  /** Names the task; no other task of the workflow may have it. */
  readonly agent_id: string
  /** `frontend`, `backend`, `qa`, `debugger`, `coordinator`, or any other agent of the server. */
  readonly agent_role: string
  /** `task` is the text for the agent; everything else is added as JSON. */
  readonly input_data: Readonly<Record<string, unknown>>
  readonly depends_on?: readonly string[]
  /** Model in place of that of the agent: `provider/model`, or the name alone. */
  readonly llm_model?: string
  readonly temperature?: number
  readonly system_prompt?: string
}

/** A workflow to submit. */
export interface WorkflowInput {
  readonly workflow_type: WorkflowType
  readonly tasks: readonly WorkflowTaskInput[]
  readonly metadata?: Readonly<Record<string, unknown>>
  /** Submitting twice with the same id starts one workflow: it is sent as the Idempotency-Key. */
  readonly id?: string
}

/** What runs workflows: SwarmInterface. */
export interface WorkflowClient {
  submitWorkflow(workflow: WorkflowInput): Promise<WorkflowReport>
  submitAndWait(
    workflow: WorkflowInput,
    timeoutMs?: number,
    onStatus?: (status: WorkflowReport) => unknown,
  ): Promise<WorkflowReport>
}

/** A workflow that is ready to be submitted to any client. */
export interface BuiltWorkflow extends WorkflowInput {
  /** Starts the workflow and resolves when it was accepted. */
  submit(client: WorkflowClient): Promise<WorkflowReport>
  /** Starts the workflow and resolves when it has ended; see `SwarmInterface.submitAndWait`. */
  submitAndWait(
    client: WorkflowClient,
    timeoutMs?: number,
    onStatus?: (status: WorkflowReport) => unknown,
  ): Promise<WorkflowReport>
}

/** Fields of createAgent. */
export interface NewAgentFields {
  /** The agent whose system prompt it has, unless `system_prompt` replaces that. */
  readonly role: string
  /** Names its tasks where they have no name of their own. */
  readonly agent_id: string
  /** `provider/model`, or the name alone at the provider of the role. Default: the model of the role. */
  readonly llm_model?: string
  /** 0 to 2. */
  readonly temperature?: number
  readonly system_prompt?: string
}

/** A role with settings of its own; tasks take it in place of a role. */
export type CustomAgent = Pick<WorkflowTaskInput, 'agent_id' | 'agent_role' | 'llm_model' | 'temperature' | 'system_prompt'>

/**
 * An agent with a model, temperature or system prompt of its own, for `addTask`.
 *
 * ```ts
 * import { createAgent, WorkflowBuilder } from 'polyphony/client'
 *
 * const agent = createAgent({ role: 'backend', agent_id: 'api', llm_model: 'gpt-6-luna', temperature: 0.7 })
 * const workflow = new WorkflowBuilder().addTask(agent.agent_id, agent, { task: 'Create an endpoint' }).build()
 * ```
 */
export const createAgent = ({ role, ...fields }: NewAgentFields): CustomAgent => Object.freeze({ ...fields, agent_role: role })

/**
 * Builds a workflow task by task.
 *
 * ```ts
 * import { SwarmInterface, WorkflowBuilder, WorkflowType } from 'polyphony/client'
 *
 * const workflow = new WorkflowBuilder(WorkflowType.SEQUENTIAL)
 *   .addTask('task-1', 'backend', { task: 'Create API endpoint' })
 *   .addTask('task-2', 'qa', { task: 'Review API' })
 *   .build()
 * const result = await new SwarmInterface().submitAndWait(workflow)
 * ```
 */
export class WorkflowBuilder {
  readonly #type: WorkflowType
  readonly #tasks: WorkflowTaskInput[] = []
  #metadata: Readonly<Record<string, unknown>> = {}
  #id: string | undefined

  constructor(type: WorkflowType = WorkflowType.SEQUENTIAL) {
    this.#type = type
  }

  /** Makes repeated submissions start one workflow. 1 to 200 printable characters without spaces; INPUT_INVALID. */
  setId(id: string): this {
    if (!/^[\x21-\x7e]{1,200}$/.test(id)) throw inputError('setId: expected 1 to 200 printable characters without spaces')
    this.#id = id
    return this
  }

  /** Adds a task for a role or an agent of `createAgent`. `dependsOn`: the ids of tasks whose results it needs. */
  addTask(
    id: string,
    role: string | CustomAgent,
    input: Readonly<Record<string, unknown>>,
    dependsOn: readonly string[] = [],
  ): this {
    const agent = typeof role === 'string' ? { agent_role: role } : role
    this.#tasks.push({ ...agent, agent_id: id, input_data: input, depends_on: [...dependsOn] })
    return this
  }

  /** Adds one field of metadata, which the server keeps and gives back. */
  addMetadata(key: string, value: unknown): this {
    this.#metadata = { ...this.#metadata, [key]: value }
    return this
  }

  /** The workflow so far; later changes of the builder do not change it. Throws INPUT_INVALID without a task. */
  build(): BuiltWorkflow {
    if (this.#tasks.length === 0) throw inputError('build: expected at least one task; add one with addTask')
    return toBuilt({
      workflow_type: this.#type,
      tasks: [...this.#tasks],
      metadata: this.#metadata,
      ...(this.#id !== undefined && { id: this.#id }),
    })
  }

  /** Builds and starts the workflow. */
  submit(client: WorkflowClient): Promise<WorkflowReport> {
    return this.build().submit(client)
  }

  /** Builds and starts the workflow, and resolves when it has ended. */
  submitAndWait(
    client: WorkflowClient,
    timeoutMs?: number,
    onStatus?: (status: WorkflowReport) => unknown,
  ): Promise<WorkflowReport> {
    return this.build().submitAndWait(client, timeoutMs, onStatus)
  }
}

const toBuilt = (input: WorkflowInput): BuiltWorkflow => ({
  ...input,
  submit: (client) => client.submitWorkflow(input),
  submitAndWait: (client, timeoutMs, onStatus) => client.submitAndWait(input, timeoutMs, onStatus),
})
