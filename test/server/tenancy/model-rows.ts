import type { Scope } from '../../../src/domain/scope.ts'
import type { ThreadRight } from '../../../src/domain/thread.ts'
import type { Answer } from '../running-server.ts'
import type { Ask, Row, Target } from './rows.ts'
import { definitionOf } from './world.ts'

/** Status in the words of the matrix: what OpenAI tells with 400 is refused as text, or is a response that nobody finds. */
function statusOf({ status, text }: Answer): number {
  if (status !== 400) return status
  return text.includes('"code":"previous_response_not_found"') ? 404 : 422
}

const row = (scope: Scope, right: ThreadRight | undefined, ask: (target: Target) => Ask): Row => ({
  scope,
  right,
  done: 200,
  statusOf,
  ask,
})
const at = encodeURIComponent
const messages = ({ mark }: Target) => [{ role: 'user', content: `${mark} asked` }]

/** Flows as models, and responses, which are flows. */
export const MODEL_ROWS: Readonly<Record<string, readonly Row[]>> = {
  'GET /v1/models': [row('read', undefined, () => ({ path: '/v1/models' }))],
  'GET /v1/models/*': [
    row('read', undefined, () => ({ path: '/v1/models/flow/critique' })),
    row('read', undefined, ({ mark }) => ({ path: `/v1/models/flow/${at(definitionOf(mark).name)}` })),
    row('read', 'read', ({ doneFlowId }) => ({ path: `/v1/models/${at(`flow/${doneFlowId}`)}` })),
  ],
  'POST /v1/chat/completions': [
    row('execute', undefined, (target) => ({
      path: '/v1/chat/completions',
      body: { model: `flow/${definitionOf(target.mark).name}`, messages: messages(target) },
    })),
    row('execute', 'read', (target) => ({
      path: '/v1/chat/completions',
      body: { model: `flow/${target.doneFlowId}`, messages: messages(target) },
    })),
    row('execute', 'read', (target) => ({
      path: '/v1/chat/completions',
      body: { model: `flow/${target.doneFlowId}`, messages: messages(target), stream: true },
    })),
  ],
  'POST /v1/responses': [
    row('execute', 'read', (target) => ({
      path: '/v1/responses',
      body: { model: `flow/${target.doneFlowId}`, input: messages(target) },
    })),
    row('execute', 'write', (target) => ({
      path: '/v1/responses',
      body: {
        model: `flow/${target.doneFlowId}`,
        input: messages(target),
        previous_response_id: `resp_${target.doneFlowId}`,
      },
    })),
  ],
  'GET /v1/responses/:responseId': [
    row('read', 'read', ({ doneFlowId }) => ({ path: `/v1/responses/${at(`resp_${doneFlowId}`)}` })),
  ],
  'POST /v1/responses/:responseId/cancel': [
    row('execute', 'write', ({ doneFlowId }) => ({ path: `/v1/responses/${at(`resp_${doneFlowId}`)}/cancel`, body: {} })),
  ],
}
