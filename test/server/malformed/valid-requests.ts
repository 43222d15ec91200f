import type * as z from 'zod'
import type { FlowDefinitionInput } from '../../../src/domain/definition/flow-definition.ts'
import { createFlowId } from '../../../src/orchestrator/flows/flow-id.ts'
import type { ListedRoute } from '../tenancy/route-list.ts'
import { BODY_SCHEMAS } from './body-status.ts'

/** Ids of things that are there. */
export interface KnownIds {
  readonly threadId: string
  readonly flowId: string
  readonly stepId: string
  /** A flow that fails whenever it is executed, so that it can be executed again. */
  readonly failingFlowId: string
  /** What requests that delete are aimed at. */
  readonly doomed: { readonly threadId: string; readonly flowId: string }
}

/** A request that would be done, to be spoilt. */
export interface ValidRequest {
  readonly method: string
  readonly path: string
  readonly query: Readonly<Record<string, string>>
  readonly body?: unknown
  /** What the route takes as its body. */
  readonly schema?: z.ZodType
}

export const DEFINITION: FlowDefinitionInput = {
  name: 'a flow',
  type: 'sequential',
  input: 'hello',
  steps: [
    { id: 'draft', action: 'generate', provider: 'scripted', model: 'm', prompt: 'Write: {{ original }}' },
    {
      id: 'check',
      action: 'critique',
      provider: 'scripted',
      model: 'm',
      inputFrom: 'draft',
      settings: { temperature: 0.5, maxTokens: 50 },
    },
  ],
}

const tool = (name: string, input: unknown) => ({
  jsonrpc: '2.0',
  id: 1,
  method: 'tools/call',
  params: { name, arguments: input },
})

const bodiesOf = ({ threadId, flowId }: KnownIds): Readonly<Record<string, readonly unknown[]>> => ({
  'POST /api/v1/threads': [{ title: 'a title' }],
  'POST /api/v1/threads/:threadId/messages': [
    {
      role: 'user',
      content: 'hello',
      attachments: [{ name: 'a.txt', mediaType: 'text/plain', text: 'text' }],
      metadata: { provider: 'scripted', deep: { list: [1, 2] } },
    },
  ],
  'PUT /api/v1/threads/:threadId/permissions/:userId': [{ rights: ['read', 'write'] }],
  'PUT /api/v1/data-sharing/:providerKey': [{ allowAttachments: true, allowConversationHistory: false }],
  'POST /api/v1/flows': [
    { threadId, definition: DEFINITION },
    { threadId, template: 'critique', parameters: { generateModel: 'scripted/m' } },
  ],
  'POST /api/v1/flows/check': [{ definition: DEFINITION }, { template: 'consensus', parameters: {} }],
  'POST /api/v1/flows/:flowId/execute': [
    { input: 'hello', streaming: true, timeout: { flow: 1_000, step: 500 }, limits: { maxTokens: 5_000 }, metadata: { a: 1 } },
  ],
  'POST /api/v1/flows/:flowId/steps/:stepId/execute': [{ input: 'hello' }],
  'POST /api/v1/flows/:flowId/steps/:stepId/signal': [{ approved: true, edit: 'a text', data: { a: 1 }, hash: 'a hash' }],
  'POST /api/v1/events': [
    { event: 'paid', correlation: 'order-1', data: { a: 1 } },
    { type: 'order_paid', data: 1 },
  ],
  'POST /api/v1/flows/:flowId/rerun': [{ fromStep: 'check', input: 'again' }],
  'POST /api/v1/templates/:name/instantiate': [{ parameters: {} }],
  'POST /v1/chat/completions': [
    {
      model: 'flow/a flow',
      messages: [
        { role: 'system', content: 'be brief' },
        { role: 'user', content: [{ type: 'text', text: 'hello' }] },
      ],
      stream: false,
      metadata: { a: 'b' },
      response_format: { type: 'text' },
    },
    {
      model: `flow/${flowId}`,
      messages: [{ role: 'user', content: 'hello' }],
      stream: true,
      stream_options: { include_usage: true },
    },
  ],
  'POST /v1/responses': [
    {
      model: 'flow/a flow',
      input: 'hello',
      instructions: 'be brief',
      metadata: { a: 'b' },
      previous_response_id: null,
      text: { format: { type: 'text' } },
    },
    { model: `flow/${flowId}`, input: [{ role: 'user', content: 'hello' }], stream: true },
  ],
  'POST /mcp': [
    tool('start_flow', { definition: DEFINITION, input: 'hello', waitMs: 20 }),
    tool('get_flow', { flowId, stepOutputs: true }),
    tool('list_flows', { threadId }),
    tool('check_flow', { template: 'critique', parameters: {} }),
    {
      jsonrpc: '2.0',
      id: 1,
      method: 'initialize',
      params: { protocolVersion: '2025-06-18', capabilities: {}, clientInfo: { name: 'x', version: '1' } },
    },
    { jsonrpc: '2.0', id: 1, method: 'tools/list', params: {} },
    [tool('get_flow', { flowId }), { jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: 1 } }],
  ],
})

const QUERIES: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  'GET /api/v1/threads': { limit: '5', offset: '0' },
  'GET /api/v1/threads/:threadId/messages': { limit: '5' },
  'GET /api/v1/flows': { status: 'COMPLETED', type: 'sequential', limit: '5', offset: '0', sortBy: 'name', sortOrder: 'ASC' },
  'GET /api/v1/flows/:flowId/updates': { afterSeq: '1' },
  'POST /api/v1/flows/:flowId/execute': { wait: '20' },
  'GET /api/v1/waiting': { limit: '5' },
  'GET /api/v1/usage': { from: '2026-01-01', to: '2027-01-01', groupBy: 'day,model', limit: '10' },
}

/** One request for every endpoint and every kind of body it takes. */
export function validRequests(routes: readonly ListedRoute[], ids: KnownIds): readonly ValidRequest[] {
  const bodies = bodiesOf(ids)
  const { doomed, failingFlowId, ...known } = ids
  const values: Readonly<Record<string, string>> = {
    ...known,
    userId: 'somebody',
    providerKey: 'scripted',
    providerId: 'scripted',
    name: 'critique',
  }
  return routes.flatMap(({ method, path, name }) => {
    const own: Readonly<Record<string, string>> = {
      ...values,
      ...(method === 'DELETE' && doomed),
      ...(path.endsWith('/:flowId/execute') && { flowId: failingFlowId }),
    }
    const filled = path.replace(/:(\w+)/g, (_, parameter: string) => own[parameter] ?? createFlowId()).replace(/^\*$/, '/x')
    const query = QUERIES[name] ?? {}
    const made = { method, path: filled, query, schema: BODY_SCHEMAS[name] }
    return (bodies[name] ?? [undefined]).map((body) => (body === undefined ? made : { ...made, body }))
  })
}
