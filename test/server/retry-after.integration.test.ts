import { expect, test } from 'vitest'
import { OrchestratorError } from '../../src/errors/orchestrator-error.ts'
import { createScriptedProvider } from '../../src/providers/scripted.ts'
import { runServer } from './running-server.ts'

/** A flow of one step whose provider answers with this error. */
async function runFailing(error: OrchestratorError) {
  const scripted = createScriptedProvider({ replies: () => error })
  const { send } = await runServer({ providers: { scripted }, retry: { baseDelayMs: 0, maxDelayMs: 0 } })
  const thread = (await send('POST', '/api/v1/threads')).json
  const steps = [{ id: 'write', model: 'scripted/pen', action: 'generate', prompt: '{{ original }}' }]
  const definition = { name: 'writing', type: 'sequential', input: 'go', steps }
  const { id } = (await send('POST', '/api/v1/flows', { body: { threadId: thread.id, definition } })).json
  const step = await send('POST', `/api/v1/flows/${id}/steps/write/execute`)
  const flow = await send('POST', `/api/v1/flows/${id}/execute?wait=30000`)
  const waits = [step, flow].map(({ headers }) => headers.get('retry-after'))
  return { step, flow, waits }
}

test.each([
  ['PROVIDER_RATE_LIMITED', 429],
  ['PROVIDER_UNAVAILABLE', 503],
] as const)('a flow or step that failed with %s has a Retry-After header', async (code, status) => {
  const error = new OrchestratorError(code, 'come back later', { retryable: false, details: { retryAfterMs: 6_500 } })
  const { step, flow, waits } = await runFailing(error)
  expect(waits).toEqual(['7', '7'])
  expect(step).toMatchObject({ status, json: { code, status } })
  expect(step.headers.get('content-type')).toContain('application/problem+json')
  // The flow was run as asked for, and its body says what came of it.
  expect(flow).toMatchObject({ status: 200, json: { status: 'FAILED', error: { code } } })
})

test('a permanent failure of a flow or step has no Retry-After', async () => {
  const { step, flow, waits } = await runFailing(new OrchestratorError('PROVIDER_REJECTED', 'no'))
  expect(waits).toEqual([null, null])
  expect(step).toMatchObject({ status: 502, json: { code: 'PROVIDER_REJECTED' } })
  expect(flow).toMatchObject({ status: 200, json: { status: 'FAILED' } })
})
