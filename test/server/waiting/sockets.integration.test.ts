import { expect, test } from 'vitest'
import { WebSocket } from 'ws'
import { createClient } from '../../../src/client/client.ts'
import { PolyphonyError } from '../../../src/client/polyphony-error.ts'
import { connect } from '../socket-client.ts'
import { decisionFlow, eventFlow, runPausedServer } from './paused-server.ts'

test('a subscriber learns what a flow waits for, and decides over the same WebSocket', async () => {
  const { url, keyOf, pause } = await runPausedServer()
  const key = await keyOf('ada')
  const { flowId, hash } = await pause('ada', decisionFlow())
  const socket = await connect(url, { key })
  socket.send({ type: 'subscribe', flowId })
  const paused = await socket.next(({ type }) => type === 'flow_paused')
  expect(paused.data).toMatchObject({ waits: [{ path: 'ok', kind: 'approve', prompt: 'Is it fine?', show: 'text 1', hash }] })
  socket.send({ type: 'signal', requestId: '1', flowId, path: 'ok', answer: { approved: true, hash } })
  expect(await socket.next(({ requestId }) => requestId === '1')).toMatchObject({
    type: 'decided',
    decision: { approved: true, by: 'ada' },
  })
  socket.send({ type: 'signal', requestId: '2', flowId, path: 'ok', answer: { approved: false } })
  expect(await socket.next(({ requestId }) => requestId === '2')).toMatchObject({
    type: 'refused',
    problem: { code: 'APPROVAL_DECIDED' },
  })
  expect(await socket.next(({ type }) => type === 'end')).toMatchObject({ flowId, status: 'COMPLETED' })
})

test('a signal without rights, without the scope, or of a wrong form is refused', async () => {
  const { url, keyOf, pause } = await runPausedServer()
  const { flowId } = await pause('ada', decisionFlow())
  const [stranger, limited] = [
    await connect(url, { key: await keyOf('eve') }),
    await connect(url, { key: await keyOf('ada', ['read']) }),
  ]
  const frame = { type: 'signal', requestId: '1', flowId, path: 'ok', answer: { approved: true } }
  stranger.send(frame)
  expect(await stranger.next(({ type }) => type === 'refused')).toMatchObject({ problem: { code: 'FLOW_NOT_FOUND' } })
  limited.send(frame)
  expect(await limited.next(({ type }) => type === 'refused')).toMatchObject({ problem: { code: 'PERMISSION_DENIED' } })
  limited.send({ ...frame, answer: { approved: 'yes' } })
  expect(await limited.next(({ type }) => type === 'refused')).toMatchObject({ problem: { code: 'INPUT_INVALID' } })
})

test('the client lists, decides and sends events, and keeps waiting for a paused flow', async () => {
  const { url, keyOf, pause } = await runPausedServer()
  const client = createClient({ baseUrl: url, apiKey: await keyOf('ada'), WebSocket })
  const thread = await client.threads.create()
  const flow = await client.flows.create({ threadId: thread.id, definition: decisionFlow() })
  const ended = client.flows.executeAndWait(flow.id, { input: 'go' }, { waitMs: 60_000 })
  for await (const update of client.flows.follow(flow.id)) if (update.type === 'flow_paused') break
  const found = []
  for await (const step of client.waiting.all({ limit: 1 })) found.push(step)
  expect(found).toMatchObject([{ flowId: flow.id, path: 'ok', mayAnswer: true }])
  const decision = await client.waiting.signal(flow.id, 'ok', { approved: true, hash: found[0]?.hash })
  expect(decision).toMatchObject({ approved: true, path: 'ok' })
  expect(await ended).toMatchObject({ status: 'COMPLETED' })
  const again = client.waiting.signal(flow.id, 'ok', { approved: true })
  await expect(again).rejects.toSatisfy(
    (error) => PolyphonyError.is(error) && error.code === 'APPROVAL_DECIDED' && error.status === 409,
  )

  const paid = await pause('ada', eventFlow())
  expect(await client.waiting.sendEvent({ event: 'paid' })).toMatchObject({ delivered: [{ flowId: paid.flowId }] })
  const other = await pause('ada', decisionFlow())
  const socket = client.socket()
  expect(await socket.signal(other.flowId, 'ok', { approved: false })).toMatchObject({ approved: false })
  await expect(socket.signal(other.flowId, 'ok', { approved: false })).rejects.toMatchObject({ code: 'APPROVAL_DECIDED' })
  socket.close()
})
