import type { Scope } from '../../../src/domain/users/api-key.ts'
import type { ThreadRight } from '../../../src/domain/users/thread.ts'
import type { Answer } from '../running-server.ts'
import type { Row, Target } from './rows.ts'
import { definitionOf } from './world.ts'

const ACCEPT = { accept: 'application/json, text/event-stream' }

const message = (method: string, params: unknown) => ({ jsonrpc: '2.0', id: 1, method, params })

/** Status of the problem that a tool tells; errors of tools come with 200. */
function statusOf({ status, text }: Answer): number {
  const told = /"polyphony\/problem":\{[^{}]*?"status":(\d+)/.exec(text)?.[1]
  return told === undefined ? status : Number(told)
}

const method = (name: string, params: unknown = {}): Row => ({
  scope: 'read',
  done: 200,
  ask: () => ({ path: '/mcp', headers: ACCEPT, body: message(name, params) }),
})

const tool = (
  name: string,
  scope: Scope,
  right: ThreadRight | undefined,
  input: (target: Target) => Readonly<Record<string, unknown>>,
): Row => ({
  scope,
  right,
  done: 200,
  statusOf,
  ask: (target) => ({ path: '/mcp', headers: ACCEPT, body: message('tools/call', { name, arguments: input(target) }) }),
})

/** Every tool; one without a row fails the matrix. */
export const TOOL_ROWS: Readonly<Record<string, readonly Row[]>> = {
  list_templates: [tool('list_templates', 'read', undefined, () => ({}))],
  describe_template: [tool('describe_template', 'read', undefined, () => ({ template: 'critique' }))],
  list_providers: [tool('list_providers', 'read', undefined, () => ({}))],
  check_flow: [tool('check_flow', 'read', undefined, ({ mark }) => ({ definition: definitionOf(mark) }))],
  start_flow: [
    tool('start_flow', 'execute', undefined, ({ mark }) => ({
      definition: definitionOf(mark),
      input: `${mark} asked`,
      waitMs: 5_000,
    })),
    tool('start_flow', 'execute', 'write', ({ waitingFlowId, mark }) => ({
      flowId: waitingFlowId,
      input: `${mark} asked`,
      waitMs: 5_000,
    })),
    tool('start_flow', 'execute', 'write', ({ threadId, mark }) => ({
      definition: definitionOf(mark),
      threadId,
      input: `${mark} asked`,
      waitMs: 5_000,
    })),
  ],
  follow_flow: [tool('follow_flow', 'read', 'read', ({ doneFlowId }) => ({ flowId: doneFlowId }))],
  get_flow: [
    tool('get_flow', 'read', 'read', ({ doneFlowId }) => ({ flowId: doneFlowId })),
    tool('get_flow', 'read', 'read', ({ doneFlowId }) => ({ flowId: doneFlowId, stepOutputs: true })),
  ],
  list_flows: [
    tool('list_flows', 'read', undefined, () => ({})),
    tool('list_flows', 'read', 'read', ({ threadId }) => ({ threadId })),
  ],
  get_usage: [
    tool('get_usage', 'read', undefined, () => ({ groupBy: ['flow', 'model'] })),
    { ...tool('get_usage', 'read', 'read', ({ doneFlowId }) => ({ flowId: doneFlowId, groupBy: ['flow'] })), ownerOnly: true },
  ],
  create_flow: [
    tool('create_flow', 'write', undefined, ({ mark }) => ({ definition: definitionOf(mark) })),
    tool('create_flow', 'write', 'write', ({ threadId, mark }) => ({ definition: definitionOf(mark), threadId })),
  ],
  list_waiting: [
    tool('list_waiting', 'read', undefined, () => ({})),
    tool('list_waiting', 'read', 'read', ({ doneFlowId }) => ({ flowId: doneFlowId })),
  ],
  // The step has ended, so an answer that is allowed comes too late.
  answer_waiting: [
    {
      ...tool('answer_waiting', 'execute', 'write', ({ doneFlowId, stepId }) => ({
        flowId: doneFlowId,
        path: stepId,
        hash: 'any',
        approved: true,
      })),
      done: 409,
    },
  ],
  cancel_flow: [tool('cancel_flow', 'execute', 'write', ({ waitingFlowId }) => ({ flowId: waitingFlowId }))],
  rerun_flow: [
    tool('rerun_flow', 'write', 'write', ({ doneFlowId }) => ({ flowId: doneFlowId })),
    tool('rerun_flow', 'write', 'write', ({ doneFlowId, stepId }) => ({ flowId: doneFlowId, fromStep: stepId })),
  ],
}

const CLIENT = { protocolVersion: '2025-06-18', capabilities: {}, clientInfo: { name: 'test', version: '1' } }

export const MCP_ROWS: readonly Row[] = [
  method('initialize', CLIENT),
  method('ping'),
  method('tools/list'),
  method('resources/list'),
  ...Object.values(TOOL_ROWS).flat(),
]
