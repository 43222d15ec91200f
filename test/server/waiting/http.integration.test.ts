import { expect, test } from 'vitest'
import { decisionFlow, eventFlow, runPausedServer } from './paused-server.ts'

const signalPath = (flowId: string, path: string) => `/api/v1/flows/${flowId}/steps/${encodeURIComponent(path)}/signal`

test('a decision over HTTP lets the flow go on, and a second one is refused with 409', async () => {
  const { send, keyOf, pause } = await runPausedServer()
  const key = await keyOf('ada')
  const { flowId, end, hash } = await pause('ada', decisionFlow())
  const list = await send('GET', '/api/v1/waiting', { key })
  expect(list.json).toMatchObject({ items: [{ flowId, path: 'ok', kind: 'approve', show: 'text 1', hash, mayAnswer: true }] })
  const decided = await send('POST', signalPath(flowId, 'ok'), { key, body: { approved: true, edit: 'my text', hash } })
  expect(decided).toMatchObject({
    status: 200,
    json: { flowId, path: 'ok', iteration: 1, approved: true, edit: 'my text', by: 'ada' },
  })
  const again = await send('POST', signalPath(flowId, 'ok'), { key, body: { approved: false } })
  expect(again).toMatchObject({ status: 409, json: { code: 'APPROVAL_DECIDED', details: { by: 'ada', approved: true } } })
  expect(await end).toMatchObject({ status: 'COMPLETED', finalOutput: 'text 2' })
  expect((await send('GET', '/api/v1/waiting', { key })).json).toEqual({ items: [] })
})

test('a repeated decision with its Idempotency-Key gets the first answer again', async () => {
  const { send, keyOf, pause } = await runPausedServer()
  const key = await keyOf('ada')
  const { flowId } = await pause('ada', decisionFlow())
  const decide = () =>
    send('POST', signalPath(flowId, 'ok'), { key, body: { approved: true }, headers: { 'idempotency-key': 'one' } })
  const [first, second] = [await decide(), await decide()]
  expect(second.text).toBe(first.text)
  expect(second.headers.get('idempotency-replayed')).toBe('true')
})

test('of many decisions at the same time exactly one counts', async () => {
  const { send, keyOf, pause } = await runPausedServer()
  const key = await keyOf('ada')
  const { flowId, end } = await pause('ada', decisionFlow())
  const answers = await Promise.all(
    Array.from({ length: 10 }, (_, index) =>
      send('POST', signalPath(flowId, 'ok'), { key, body: { approved: index % 2 === 0 } }),
    ),
  )
  expect(answers.map(({ status }) => status).sort()).toEqual([200, ...Array.from({ length: 9 }, () => 409)])
  expect((await end).steps[1]?.parsed).toMatchObject({ approved: answers.find(({ status }) => status === 200)?.json.approved })
})

test('who may not read the flow finds nothing, and who may not decide is denied', async () => {
  const { send, keyOf, pause, polyphony } = await runPausedServer()
  const [ada, bea, eve] = [await keyOf('ada'), await keyOf('bea'), await keyOf('eve')]
  const readOnly = await keyOf('ada', ['read', 'write'])
  const { flowId, threadId } = await pause('ada', decisionFlow())
  await polyphony.permissions.grant(threadId, 'ada', 'bea', ['read'])
  const decide = (key: string) => send('POST', signalPath(flowId, 'ok'), { key, body: { approved: true } })
  expect(await decide(eve)).toMatchObject({ status: 404, json: { code: 'FLOW_NOT_FOUND' } })
  expect(await decide(bea)).toMatchObject({ status: 403, json: { code: 'PERMISSION_DENIED' } })
  expect(await decide(readOnly)).toMatchObject({
    status: 403,
    json: { code: 'PERMISSION_DENIED', details: { scope: 'execute' } },
  })
  expect((await send('GET', '/api/v1/waiting', { key: eve })).json).toEqual({ items: [] })
  expect(await send('GET', `/api/v1/waiting?flowId=${flowId}`, { key: eve })).toMatchObject({ status: 404 })
  expect((await send('GET', `/api/v1/waiting?flowId=${flowId}`, { key: bea })).json).toMatchObject({
    items: [{ mayAnswer: false }],
  })
  expect((await send('POST', signalPath(flowId, 'ok'), { body: { approved: true } })).status).toBe(401)
  expect((await decide(ada)).status).toBe(200)
})

test('assignees shut out the creator of the flow', async () => {
  const { send, keyOf, pause, polyphony } = await runPausedServer()
  const [ada, bea] = [await keyOf('ada'), await keyOf('bea')]
  const { flowId, threadId, end } = await pause('ada', decisionFlow({ assignees: ['bea'] }))
  await polyphony.permissions.grant(threadId, 'ada', 'bea', ['read'])
  expect(await send('POST', signalPath(flowId, 'ok'), { key: ada, body: { approved: true } })).toMatchObject({ status: 403 })
  expect(await send('POST', signalPath(flowId, 'ok'), { key: bea, body: { approved: true } })).toMatchObject({ status: 200 })
  expect((await end).steps[1]?.parsed).toMatchObject({ by: 'bea' })
})

test('stale hashes, unknown steps, malformed answers and hostile addresses are refused, and the flow still waits', async () => {
  const { send, keyOf, pause } = await runPausedServer()
  const key = await keyOf('ada')
  const { flowId } = await pause(
    'ada',
    decisionFlow({ schema: { type: 'object', properties: { n: { type: 'number' } }, required: ['n'] } }),
  )
  const refusals: readonly [path: string, body: unknown, status: number, code?: string][] = [
    [signalPath(flowId, 'ok'), { approved: true, hash: 'stale', data: { n: 1 } }, 409, 'APPROVAL_OUTDATED'],
    [signalPath(flowId, 'nothing'), { approved: true }, 404, 'STEP_NOT_FOUND'],
    [signalPath(flowId, 'draft'), { approved: true }, 409, 'STEP_NOT_WAITING'],
    [signalPath(flowId, 'outer/inner[3]'), { approved: true }, 404, 'STEP_NOT_FOUND'],
    [signalPath(flowId, '../../../threads'), { approved: true }, 404, 'STEP_NOT_FOUND'],
    [signalPath(flowId, 'ok\0'), { approved: true }, 422, 'INPUT_INVALID'],
    [signalPath(flowId, 'x'.repeat(501)), { approved: true }, 400],
    [`/api/v1/flows/${flowId}/steps/../signal`, { approved: true }, 404],
    [`/api/v1/flows/${flowId}/steps/%2e%2e/signal`, { approved: true }, 404],
    [`/api/v1/flows/${flowId}/steps/%E0%A4%A/signal`, { approved: true }, 400],
    [signalPath(flowId, 'ok'), {}, 422, 'INPUT_INVALID'],
    [signalPath(flowId, 'ok'), { approved: 'yes' }, 422, 'INPUT_INVALID'],
    [signalPath(flowId, 'ok'), { approved: true, by: 'bea' }, 422, 'INPUT_INVALID'],
    [signalPath(flowId, 'ok'), { approved: true, data: { n: 'much' } }, 422, 'INPUT_INVALID'],
    [signalPath(flowId, 'ok'), { approved: true, edit: 'x'.repeat(1_000_001) }, 422, 'INPUT_INVALID'],
    [signalPath(flowId, 'ok'), { approved: false, data: 'x'.repeat(1_000_001) }, 422, 'INPUT_INVALID'],
    [signalPath('00000000-0000-7000-8000-000000000000', 'ok'), { approved: true }, 404, 'FLOW_NOT_FOUND'],
  ]
  for (const [path, body, status, code] of refusals) {
    const answer = await send('POST', path, { key, body })
    const what = `${path.slice(0, 120)} ${JSON.stringify(body).slice(0, 60)}`
    expect([answer.status, code ?? answer.json.code], what).toEqual([status, answer.json.code])
  }
  expect((await send('GET', '/api/v1/waiting', { key })).json).toMatchObject({ items: [{ path: 'ok' }] })
})

test('an event reaches the flows that wait for it, of users who may write them', async () => {
  const { send, keyOf, pause } = await runPausedServer()
  const [ada, eve] = [await keyOf('ada'), await keyOf('eve')]
  const { flowId, end } = await pause('ada', eventFlow('order-1'))
  const event = { event: 'paid', correlation: 'order-1', data: { amount: 5 } }
  expect((await send('POST', '/api/v1/events', { key: eve, body: event })).json).toEqual({ delivered: [] })
  expect((await send('POST', '/api/v1/events', { key: ada, body: { event: 'paid' } })).json).toEqual({ delivered: [] })
  expect((await send('POST', '/api/v1/events', { key: ada, body: event })).json).toEqual({
    delivered: [{ flowId, path: 'paid', iteration: 1 }],
  })
  expect((await end).steps[1]?.parsed).toMatchObject({ data: { amount: 5 } })
  expect((await send('POST', '/api/v1/events', { key: ada, body: { event: '' } })).status).toBe(422)
})

test('the list of what waits is paged', async () => {
  const { send, keyOf, pause } = await runPausedServer()
  const key = await keyOf('ada')
  const flows = [await pause('ada', decisionFlow()), await pause('ada', decisionFlow()), await pause('ada', decisionFlow())]
  const seen: unknown[] = []
  for (let cursor: unknown, pages = 0; pages < 4; pages++) {
    const query = cursor === undefined ? '' : `&cursor=${encodeURIComponent(String(cursor))}`
    const { json } = await send('GET', `/api/v1/waiting?limit=1${query}`, { key })
    seen.push(...(Array.isArray(json.items) ? json.items.map((item: { flowId: string }) => item.flowId) : []))
    cursor = json.nextCursor
    if (cursor === undefined) break
  }
  expect(seen).toEqual(flows.map(({ flowId }) => flowId))
  expect((await send('GET', '/api/v1/waiting?cursor=nonsense', { key })).status).toBe(422)
})

test('a request that waits for the end of a flow is answered when the flow waits for somebody', async () => {
  const { send, keyOf, polyphony } = await runPausedServer()
  const key = await keyOf('ada')
  const { id: threadId } = await polyphony.conversations.createThread('ada')
  const { id } = await polyphony.orchestrator.createFlow(threadId, 'ada', decisionFlow())
  const answer = await send('POST', `/api/v1/flows/${id}/execute?wait=60000`, { key, body: { input: 'go' } })
  expect(answer).toMatchObject({ status: 202, json: { flowId: id, status: 'PAUSED' } })
  expect(answer.headers.get('location')).toBe(`/api/v1/waiting?flowId=${id}`)
})
