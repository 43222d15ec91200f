import { expect, test } from 'vitest'
import { eventsOf, runServer } from './running-server.ts'

test('a flow is created, run and streamed over HTTP without any set-up', async () => {
  const { send } = await runServer()
  const thread = (await send('POST', '/api/v1/threads')).json
  await send('PUT', '/api/v1/data-sharing/anthropic', { body: { allowCrossProviderContext: true } })
  const created = await send('POST', '/api/v1/flows', { body: { threadId: thread.id, template: 'critique' } })
  expect(created.status).toBe(201)
  expect(created.headers.get('location')).toBe(`/api/v1/flows/${created.json.id}`)

  const started = await send('POST', `${created.headers.get('location')}/execute`, { body: { input: 'Why is the sky blue?' } })
  expect(started.status).toBe(202)
  expect(started.headers.get('location')).toBe(`/api/v1/flows/${created.json.id}/status`)

  const events = eventsOf((await send('GET', `/api/v1/flows/${created.json.id}/updates`)).text)
  const sequence = events.slice(0, -1).map(({ id }) => Number(id))
  expect(sequence).toEqual(sequence.map((_, index) => index + 1))
  expect(events.filter(({ event }) => event === 'step_complete')).toHaveLength(3)
  expect(events.at(-1)).toMatchObject({ event: 'end', data: { status: 'COMPLETED', lastSeq: sequence.at(-1) } })

  const later = eventsOf(
    (await send('GET', `/api/v1/flows/${created.json.id}/updates`, { headers: { 'last-event-id': '3' } })).text,
  )
  expect(later[0]?.id).toBe('4')
  expect((await send('GET', `/api/v1/flows/${created.json.id}/status`)).json).toMatchObject({
    status: 'COMPLETED',
    progress: 100,
  })
})
