import type { PolyphonyConfigInput } from '../../../src/config/config.ts'
import type { ModelRequest } from '../../../src/domain/execution/model-call.ts'
import { createScriptedProvider, type ScriptedReply } from '../../../src/providers/scripted.ts'
import { type RunningServer, runServer, type SendOptions } from '../running-server.ts'

export type Reply = (request: ModelRequest, index: number) => ScriptedReply | Promise<ScriptedReply>

export interface Task {
  readonly task_id: string
  readonly agent_id: string
  readonly agent_role: string
  readonly agent: string
  readonly status: string
  readonly depends_on: readonly string[]
  readonly started_at: string | null
  readonly completed_at: string | null
  readonly result: { readonly output: string; readonly model: string } | null
  readonly error: { readonly code: string; readonly message: string } | null
}

export interface ShownWorkflow {
  readonly workflow_id: string
  readonly workflow_type: string
  readonly status: string
  readonly tasks: readonly Task[]
  readonly metadata: Readonly<Record<string, unknown>>
  readonly error: { readonly code: string; readonly message: string } | null
}

export interface WorkflowServer extends RunningServer {
  /** What the models were sent, in order. */
  readonly requests: readonly ModelRequest[]
  submit(body: unknown, options?: SendOptions): Promise<ShownWorkflow>
  /** The workflow when it has ended. */
  ended(id: string, options?: SendOptions): Promise<ShownWorkflow>
  run(body: unknown): Promise<ShownWorkflow>
}

/** A server whose agents are answered by a script. */
export async function runWorkflowServer(reply: Reply, config: PolyphonyConfigInput = {}): Promise<WorkflowServer> {
  const provider = createScriptedProvider({ id: 'openai', replies: reply })
  const server = await runServer({ simulator: false, providers: { openai: provider }, retry: { baseDelayMs: 0 }, ...config })
  const show = async (path: string, options?: SendOptions): Promise<ShownWorkflow> =>
    JSON.parse((await server.send('GET', path, options)).text)
  const submit = async (body: unknown, options: SendOptions = {}): Promise<ShownWorkflow> => {
    const answer = await server.send('POST', '/run-graph', { ...options, body })
    if (answer.status !== 202) throw new Error(`expected 202, found ${answer.status}: ${answer.text}`)
    return JSON.parse(answer.text)
  }
  const ended = async (id: string, options: SendOptions = {}) => {
    // The stream of updates ends with the flow.
    await (await fetch(`${server.url}/api/v1/flows/${id}/updates`, { headers: headersOf(options) })).text()
    return show(`/status/${id}`, options)
  }
  return {
    ...server,
    requests: provider.requests,
    submit,
    ended,
    run: async (body) => ended((await submit(body)).workflow_id),
  }
}

const headersOf = ({ key, headers = {} }: SendOptions): Record<string, string> => ({
  ...headers,
  ...(key !== undefined && { authorization: `Bearer ${key}` }),
})

/** A task of the role `qa` unless it says otherwise. */
export const task = (agentId: string, more: object = {}): object => ({
  agent_id: agentId,
  agent_role: 'qa',
  input_data: { task: `Do ${agentId}` },
  ...more,
})

/** What a request of a model says, without its system prompt. */
export const textOf = (request: ModelRequest | undefined): string =>
  JSON.stringify(request?.messages.map(({ content }) => content))
