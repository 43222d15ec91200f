import { expect, test } from 'vitest'
import { decisionFlow, runPausedServer } from '../waiting/paused-server.ts'

/** A server with a saved flow that waits for a decision. */
async function runModelServer() {
  const running = await runPausedServer()
  const { polyphony, keyOf, send } = running
  const key = await keyOf('ada')
  const { id: threadId } = await polyphony.conversations.createThread('ada')
  await polyphony.orchestrator.createFlow(threadId, 'ada', decisionFlow())
  const approve = async (flowId: string) => {
    expect((await send('POST', `/api/v1/flows/${flowId}/steps/ok/signal`, { key, body: { approved: true } })).status).toBe(200)
    for await (const _ of polyphony.orchestrator.streamFlow(flowId, 'ada'));
  }
  return { ...running, key, approve }
}

test('a chat completion whose flow waits for a decision is an error that names the flow, which goes on when it is decided', async () => {
  const { send, key, polyphony, approve } = await runModelServer()
  const body = { model: 'flow/decision', messages: [{ role: 'user', content: 'hello' }] }
  const answer = await send('POST', '/v1/chat/completions', { key, body })
  expect(answer).toMatchObject({ status: 409, json: { error: { code: 'flow_paused', type: 'invalid_request_error' } } })
  expect(answer.headers.get('x-should-retry')).toBe('false')
  const flowId = answer.headers.get('x-polyphony-flow-id') ?? ''
  expect((await polyphony.orchestrator.getFlowStatus(flowId)).status).toBe('PAUSED')
  await approve(flowId)
  expect((await polyphony.orchestrator.getFlowStatus(flowId)).status).toBe('COMPLETED')
  const streamed = await send('POST', '/v1/chat/completions', { key, body: { ...body, stream: true } })
  expect(streamed.text).toContain('flow_paused')
})

test('a response in the background is in progress until the decision, and then completed', async () => {
  const { send, key, approve } = await runModelServer()
  const created = await send('POST', '/v1/responses', { key, body: { model: 'flow/decision', input: 'hello', background: true } })
  const id = String(created.json.id)
  const flowId = id.replace(/^resp_/, '')
  await expect.poll(async () => (await send('GET', `/api/v1/flows/${flowId}/status`, { key })).json.status).toBe('PAUSED')
  const read = () => send('GET', `/v1/responses/${id}`, { key })
  expect((await read()).json).toMatchObject({ status: 'in_progress', output: [] })
  await approve(flowId)
  expect((await read()).json).toMatchObject({ status: 'completed', output: [{ content: [{ text: 'text 2' }] }] })
})

test('a response outside of the background is an error, and can be read when it is decided', async () => {
  const { send, key, approve } = await runModelServer()
  const answer = await send('POST', '/v1/responses', { key, body: { model: 'flow/decision', input: 'hello' } })
  expect(answer).toMatchObject({ status: 409, json: { error: { code: 'flow_paused' } } })
  const flowId = answer.headers.get('x-polyphony-flow-id') ?? ''
  await approve(flowId)
  expect((await send('GET', `/v1/responses/resp_${flowId}`, { key })).json).toMatchObject({ status: 'completed' })
})
