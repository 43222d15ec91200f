import type { Scope } from '../../../src/domain/users/api-key.ts'
import type { ThreadRight } from '../../../src/domain/users/thread.ts'
import type { Answer } from '../running-server.ts'
import { MCP_ROWS } from './tool-rows.ts'
import { definitionOf, type Mark, type Things } from './world.ts'

/** What a request is aimed at; the ids may be anybody's, or nobody's. */
export type Target = Things

export interface Ask {
  readonly path: string
  readonly body?: unknown
  readonly headers?: Readonly<Record<string, string>>
}

/** One way of using an endpoint, and what it takes. */
export interface Row {
  /** `public`: open to everybody; `any`: to whoever has a key. */
  readonly scope: Scope | 'public' | 'any'
  /** Right on the thread of the target; absent where the endpoint has no target: it is about the caller alone. */
  readonly right?: ThreadRight
  /** Only who made the target is told of it at all. */
  readonly ownerOnly?: true
  /** Status when it is done. */
  readonly done: number
  readonly ask: (target: Target) => Ask
  /** Where the answer tells its status in a way of its own. */
  readonly statusOf?: (answer: Answer) => number
}

const api = (path: string) => `/api/v1${path}`
const at = encodeURIComponent
const open = (path: string, done = 200): Row => ({ scope: 'public', done, ask: () => ({ path }) })
const own = (scope: Scope, path: string, done = 200, body?: (mark: Mark) => unknown): Row => ({
  scope,
  done,
  ask: ({ mark }) => ({ path: api(path), ...(body && { body: body(mark) }) }),
})
const onThread = (
  scope: Scope,
  right: ThreadRight,
  done: number,
  path: (thread: string) => string,
  body?: (target: Target) => unknown,
): Row => ({
  scope,
  right,
  done,
  ask: (target) => ({ path: api(path(at(target.threadId))), ...(body && { body: body(target) }) }),
})
const onFlow = (
  scope: Scope,
  right: ThreadRight,
  done: number,
  path: (flow: string, target: Target) => string,
  body?: (target: Target) => unknown,
  which: 'doneFlowId' | 'waitingFlowId' = 'doneFlowId',
): Row => ({
  scope,
  right,
  done,
  ask: (target) => ({ path: api(path(at(target[which]), target)), ...(body && { body: body(target) }) }),
})

const onFile = (scope: Scope, done: number, path: (file: string) => string): Row => ({
  scope,
  right: 'read',
  done,
  ask: (target) => ({ path: api(path(at(target.fileId))) }),
})

const onModels = (scope: Scope, right: ThreadRight, ask: Row['ask']): Row => ({
  scope,
  right,
  done: 200,
  ask,
  statusOf: statusOfOpenAi,
})
const chat = ({ doneFlowId, mark }: Target) => ({
  model: `flow/${doneFlowId}`,
  messages: [{ role: 'user', content: `${mark} asked` }],
})
/** Clients of OpenAI are told 400 for what is 404 or 422 elsewhere, where an id stands in the body. */
const statusOfOpenAi = ({ status, json }: Answer): number =>
  status === 400 && JSON.stringify(json).includes('not_found') ? 404 : status === 400 ? 422 : status

/** A workflow service is at the root, as the models are. */
const atRoot = (scope: Scope, right: ThreadRight, path: (flow: string) => string): Row => ({
  scope,
  right,
  done: 200,
  ask: ({ doneFlowId }) => ({ path: path(at(doneFlowId)) }),
})
const workflowOf = (mark: Mark) => ({
  workflow_type: 'sequential',
  tasks: [{ agent_id: `${mark} task`, agent_role: 'qa', input_data: { task: `${mark} asked` } }],
})

/** Services belong to nobody but the operator; the server of the matrix has none. */
const operator = (path: string, done = 200, body?: unknown): Row => ({
  scope: 'operate',
  done,
  ask: () => ({ path, ...(body === undefined ? {} : { body }) }),
})
const serviceRows = (prefix: string): Readonly<Record<string, readonly Row[]>> => ({
  [`GET ${prefix}/services`]: [operator(`${prefix}/services`)],
  [`GET ${prefix}/services/:serviceId`]: [operator(`${prefix}/services/nobody`, 404)],
  [`POST ${prefix}/services`]: [operator(`${prefix}/services`, 422, { id: 'nobody' })],
  [`GET ${prefix}/services/:serviceId/logs`]: [operator(`${prefix}/services/nobody/logs`, 404)],
  ...Object.fromEntries(
    ['start', 'stop', 'restart'].map((name) => [
      `PUT ${prefix}/services/:serviceId/${name}`,
      [operator(`${prefix}/services/nobody/${name}`, 404)],
    ]),
  ),
})

const ROUTES: Readonly<Record<string, readonly Row[]>> = {
  'GET /livez': [open('/livez')],
  'GET /readyz': [open('/readyz')],
  'GET /health': [open('/health')],
  'GET /openapi.json': [open('/openapi.json')],
  'GET /docs': [open('/docs')],
  'GET /docs/static/index.html': [open('/docs/static/index.html', 302)],
  'GET /docs/static/swagger-initializer.js': [open('/docs/static/swagger-initializer.js')],
  'GET /docs/static/*': [open('/docs/static/swagger-ui.css')],
  'GET /docs/json': [open('/docs/json')],
  'GET /docs/yaml': [open('/docs/yaml')],
  'GET /redoc': [open('/redoc', 308)],
  'OPTIONS *': [open('/api/v1/threads', 204)],

  'POST /run-graph': [
    {
      scope: 'execute',
      done: 202,
      ask: ({ mark }) => ({ path: '/run-graph', body: workflowOf(mark) }),
    },
  ],
  'GET /status/:workflowId': [atRoot('read', 'read', (id) => `/status/${id}`)],
  'GET /workflows': [
    { scope: 'read', done: 200, ask: () => ({ path: '/workflows' }) },
    { scope: 'read', done: 200, ask: () => ({ path: '/workflows?status=completed&limit=5' }) },
  ],
  'DELETE /workflows/:workflowId': [
    atRoot('write', 'delete', (id) => `/workflows/${id}`),
    atRoot('write', 'delete', (id) => `/workflows/${id}?force=true`),
  ],

  'GET /v1/models': [{ scope: 'read', done: 200, ask: () => ({ path: '/v1/models' }) }],
  'GET /v1/models/*': [onModels('read', 'read', (target) => ({ path: `/v1/models/flow/${at(target.doneFlowId)}` }))],
  'POST /v1/chat/completions': [
    // Who may read a flow may run one like it, in a thread of its own.
    onModels('execute', 'read', (target) => ({ path: '/v1/chat/completions', body: chat(target) })),
    onModels('execute', 'read', (target) => ({ path: '/v1/chat/completions', body: { ...chat(target), stream: true } })),
  ],
  'POST /v1/responses': [
    onModels('execute', 'read', ({ doneFlowId, mark }) => ({
      path: '/v1/responses',
      body: { model: `flow/${doneFlowId}`, input: `${mark} asked` },
    })),
    {
      ...onModels('execute', 'read', ({ responseId, mark }) => ({
        path: '/v1/responses',
        body: { model: `flow/${mark} flow`, input: `${mark} asked`, previous_response_id: responseId },
      })),
      ownerOnly: true,
    },
  ],
  'GET /v1/responses/:responseId': [
    { ...onModels('read', 'read', ({ responseId }) => ({ path: `/v1/responses/${at(responseId)}` })), ownerOnly: true },
  ],
  'POST /v1/responses/:responseId/cancel': [
    {
      ...onModels('execute', 'write', ({ responseId }) => ({ path: `/v1/responses/${at(responseId)}/cancel` })),
      ownerOnly: true,
    },
  ],
  'POST /mcp': MCP_ROWS,
  'GET /metrics': [{ scope: 'metrics', done: 200, ask: () => ({ path: '/metrics' }) }],
  ...serviceRows('/api/v1'),
  ...serviceRows('/api'),
  'DELETE /api/v1/services/:serviceId': [operator('/api/v1/services/nobody', 404)],
  'POST /api/v1/services/:serviceId/heartbeat': [operator('/api/v1/services/nobody/heartbeat', 404)],
  'GET /api/v1/services/:serviceId/events': [operator('/api/v1/services/nobody/events', 404)],
  'POST /api/v1/services/reload': [operator('/api/v1/services/reload')],
  'GET /api/v1/pools': [operator('/api/v1/pools')],
  'GET /api/v1/system': [operator('/api/v1/system')],
  'GET /api/v1/me': [own('read', '/me')],
  'GET /api/v1/templates': [own('read', '/templates')],
  'GET /api/v1/templates/:name': [own('read', '/templates/critique')],
  'POST /api/v1/templates/:name/instantiate': [own('read', '/templates/critique/instantiate', 200, () => ({}))],
  'GET /api/v1/providers': [own('read', '/providers')],
  'GET /api/v1/providers/:providerId': [own('read', '/providers/scripted')],
  'GET /api/v1/providers/:providerId/health': [own('read', '/providers/scripted/health')],
  'POST /api/v1/tickets': [own('read', '/tickets', 201)],

  'POST /api/v1/threads': [own('write', '/threads', 201, (mark) => ({ title: `${mark} new` }))],
  'GET /api/v1/threads': [own('read', '/threads'), own('read', '/threads?limit=1000&offset=0')],
  'GET /api/v1/threads/:threadId': [onThread('read', 'read', 200, (id) => `/threads/${id}`)],
  'DELETE /api/v1/threads/:threadId': [onThread('write', 'delete', 204, (id) => `/threads/${id}`)],
  'GET /api/v1/threads/:threadId/messages': [
    onThread('read', 'read', 200, (id) => `/threads/${id}/messages`),
    onThread('read', 'read', 200, (id) => `/threads/${id}/messages?limit=1`),
  ],
  'POST /api/v1/threads/:threadId/messages': [
    onThread(
      'write',
      'write',
      201,
      (id) => `/threads/${id}/messages`,
      ({ mark }) => ({ role: 'user', content: `${mark} said` }),
    ),
  ],
  'POST /api/v1/files': [
    {
      scope: 'write',
      done: 201,
      ask: ({ mark }) => ({
        path: api(`/files?name=${mark}`),
        body: `${mark} bytes`,
        headers: { 'content-type': 'application/octet-stream' },
      }),
    },
  ],
  'GET /api/v1/files': [own('read', '/files'), own('read', '/files?limit=1000')],
  'GET /api/v1/files/:fileId': [onFile('read', 200, (id) => `/files/${id}`)],
  'GET /api/v1/files/:fileId/content': [onFile('read', 200, (id) => `/files/${id}/content`)],
  // Who may read the thread is told of the file, and only who added it may delete it.
  'DELETE /api/v1/files/:fileId': [{ ...onFile('write', 204, (id) => `/files/${id}`), ownerOnly: true }],
  'GET /api/v1/threads/:threadId/permissions': [onThread('read', 'read', 200, (id) => `/threads/${id}/permissions`)],
  'PUT /api/v1/threads/:threadId/permissions/:userId': [
    // Who may read may let others read; a caller who takes rights that nobody had takes none.
    onThread(
      'share',
      'read',
      200,
      (id) => `/threads/${id}/permissions/zoe`,
      () => ({ rights: ['read'] }),
    ),
    onThread(
      'share',
      'write',
      200,
      (id) => `/threads/${id}/permissions/zoe`,
      () => ({ rights: ['read', 'write'] }),
    ),
    onThread(
      'share',
      'delete',
      200,
      (id) => `/threads/${id}/permissions/zoe`,
      () => ({ rights: ['read', 'delete'] }),
    ),
  ],

  'GET /api/v1/data-sharing': [own('read', '/data-sharing')],
  'GET /api/v1/data-sharing/:providerKey': [own('read', '/data-sharing/scripted'), own('read', '/data-sharing/provider-of-ada')],
  'PUT /api/v1/data-sharing/:providerKey': [own('share', '/data-sharing/scripted', 200, () => ({ allowAttachments: true }))],
  'DELETE /api/v1/data-sharing/:providerKey': [
    own('share', '/data-sharing/scripted', 204),
    own('share', '/data-sharing/provider-of-bea', 204),
  ],

  'POST /api/v1/flows': [
    {
      scope: 'write',
      right: 'write',
      done: 201,
      ask: ({ threadId, mark }) => ({ path: api('/flows'), body: { threadId, definition: definitionOf(mark) } }),
    },
    {
      scope: 'write',
      right: 'write',
      done: 201,
      ask: ({ threadId }) => ({ path: api('/flows'), body: { threadId, template: 'critique' } }),
    },
  ],
  'GET /api/v1/budgets': [own('read', '/budgets')],
  'GET /api/v1/usage': [
    own('read', '/usage'),
    own('read', '/usage?groupBy=flow,model&limit=1000'),
    { ...onFlow('read', 'read', 200, (id) => `/usage?groupBy=flow&flowId=${id}`), ownerOnly: true },
  ],
  'GET /api/v1/flows': [
    own('read', '/flows'),
    own('read', '/flows?limit=1&sortBy=name&sortOrder=ASC'),
    onThread('read', 'read', 200, (id) => `/flows?threadId=${id}`),
    onThread('read', 'read', 200, (id) => `/flows?threadId=${id}&status=COMPLETED&limit=5&sortBy=name`),
  ],
  'POST /api/v1/flows/check': [own('read', '/flows/check', 200, (mark) => ({ definition: definitionOf(mark) }))],
  'GET /api/v1/flows/:flowId': [onFlow('read', 'read', 200, (id) => `/flows/${id}`)],
  'DELETE /api/v1/flows/:flowId': [onFlow('write', 'delete', 204, (id) => `/flows/${id}`)],
  'GET /api/v1/flows/:flowId/status': [onFlow('read', 'read', 200, (id) => `/flows/${id}/status`)],
  'GET /api/v1/flows/:flowId/updates': [
    onFlow('read', 'read', 200, (id) => `/flows/${id}/updates`),
    onFlow('read', 'read', 200, (id) => `/flows/${id}/updates?afterSeq=1`),
  ],
  'POST /api/v1/flows/:flowId/execute': [
    onFlow(
      'execute',
      'write',
      200,
      (id) => `/flows/${id}/execute?wait=5000`,
      ({ mark }) => ({ input: `${mark} asked` }),
      'waitingFlowId',
    ),
  ],
  'POST /api/v1/flows/:flowId/steps/:stepId/execute': [
    onFlow(
      'execute',
      'write',
      200,
      (id, { stepId }) => `/flows/${id}/steps/${stepId}/execute`,
      ({ mark }) => ({ input: `${mark} asked` }),
    ),
  ],
  'POST /api/v1/flows/:flowId/cancel': [
    onFlow('execute', 'write', 200, (id) => `/flows/${id}/cancel`, undefined, 'waitingFlowId'),
  ],
  'GET /api/v1/waiting': [
    own('read', '/waiting'),
    own('read', '/waiting?limit=1'),
    onFlow('read', 'read', 200, (id) => `/waiting?flowId=${id}`),
  ],
  'POST /api/v1/flows/:flowId/steps/:stepId/signal': [
    // The step has ended, so an answer that is allowed comes too late.
    onFlow(
      'execute',
      'write',
      409,
      (id, { stepId }) => `/flows/${id}/steps/${stepId}/signal`,
      () => ({ approved: true }),
    ),
  ],
  'GET /api/v1/events': [
    own('read', '/events'),
    own('read', '/events?type=order_*&limit=1000'),
    { scope: 'read', done: 200, ask: ({ doneFlowId }) => ({ path: api(`/events?correlationId=${at(doneFlowId)}`) }) },
  ],
  'POST /api/v1/events': [
    own('execute', '/events', 200, (mark) => ({ event: 'paid', data: mark })),
    own('execute', '/events', 201, (mark) => ({ type: 'order_paid', correlationId: mark, data: mark })),
  ],
  'POST /api/v1/flows/:flowId/rerun': [
    onFlow(
      'write',
      'write',
      201,
      (id) => `/flows/${id}/rerun`,
      () => ({}),
    ),
    onFlow(
      'write',
      'write',
      201,
      (id) => `/flows/${id}/rerun`,
      ({ stepId }) => ({ fromStep: stepId }),
    ),
  ],
}

/** Every endpoint by method and path, as it is registered; one without a row fails the matrix. HEAD is answered as GET is. */
export const ROWS: typeof ROUTES = {
  ...ROUTES,
  ...Object.fromEntries(
    Object.entries(ROUTES).flatMap(([name, rows]) =>
      name.startsWith('GET ') ? [[name.replace('GET', 'HEAD'), rows.slice(0, 1)]] : [],
    ),
  ),
}
