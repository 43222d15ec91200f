// S4-105: a WebSocket delivers the updates of a running flow to its end

import { expect, test } from 'vitest'
import { runServer } from '../server/running-server.ts'
import { connect } from '../server/socket-client.ts'

test('a WebSocket delivers the updates of a running flow to its end', async () => {
  const { url, send } = await runServer()
  const thread = (await send('POST', '/api/v1/threads')).json
  await send('PUT', '/api/v1/data-sharing/anthropic', { body: { allowCrossProviderContext: true } })
  const { id: flowId } = (await send('POST', '/api/v1/flows', { body: { threadId: thread.id, template: 'critique' } })).json
  const client = await connect(url)
  client.send({ type: 'subscribe', flowId })
  client.send({ type: 'execute', flowId, options: { input: 'Why is the sky blue?' } })

  await client.next(({ type }) => type === 'step_progress')
  expect((await send('GET', `/api/v1/flows/${flowId}/status`)).json.status).toBe('RUNNING')
  await client.next(({ type }) => type === 'end')
  const text = client.frames.flatMap(({ type, stepId, data }) => (type === 'step_progress' && stepId === 'refine' ? [data] : []))
  const flow = (await send('GET', `/api/v1/flows/${flowId}`)).json
  const pieces = text.map((data) => (typeof data === 'object' && data !== null && 'delta' in data ? data.delta : ''))
  expect(flow.result).toMatchObject({ finalOutput: pieces.join('') })
})
