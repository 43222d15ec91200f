import { expect, onTestFinished, test } from 'vitest'
import { WebSocket } from 'ws'
import { SCOPES } from '../../../src/domain/users/api-key.ts'
import { connect } from '../socket-client.ts'
import { runServiceServer } from './service-server.ts'

test('a socket that subscribes to services gets all of them, then every change', async () => {
  const { url, polyphony } = await runServiceServer()
  const client = await connect(url)
  client.send({ type: 'subscribe_services' })
  expect(await client.next(({ type }) => type === 'service')).toMatchObject({ service: { id: 'local', state: 'idle' } })
  await polyphony.services.start('local')
  expect(await client.next(({ type }) => type === 'service')).toMatchObject({ service: { id: 'local', state: 'running' } })
})

test('a client without a protocol gets the states of services without asking, as JSON', async () => {
  const { url, polyphony } = await runServiceServer()
  const ws = new WebSocket(`${url.replace('http', 'ws')}/ws`)
  onTestFinished(() => ws.terminate())
  const states: unknown[] = []
  const running = new Promise<void>((resolve) => {
    ws.onmessage = (event) => {
      const update = JSON.parse(String(event.data))
      states.push(update.service.state)
      if (update.service.state === 'idle') void polyphony.services.start('local')
      if (update.service.state === 'running') resolve()
    }
  })
  await running
  expect(states[0]).toBe('idle')
})

test('a service that changes all the time is reported at most a few times, and its last state is', async () => {
  const { url, polyphony } = await runServiceServer()
  const client = await connect(url)
  client.send({ type: 'subscribe_services' })
  await client.next(({ type }) => type === 'service')
  for (let round = 0; round < 100; round++) {
    await polyphony.services.start('local')
    await polyphony.services.stop('local')
  }
  await polyphony.services.start('local')
  await client.next((frame) => frame.type === 'service' && JSON.stringify(frame).includes('"state":"running"'))
  client.send({ type: 'ping' })
  await client.next(({ type }) => type === 'pong')
  expect(client.frames.filter(({ type }) => type === 'service').length).toBeLessThan(50)
})

test('a user without the scope operate is refused, and gets nothing unasked', async () => {
  const { url, keyOf } = await runServiceServer()
  const user = await keyOf('ada')
  const client = await connect(url, { key: user })
  client.send({ type: 'subscribe_services', requestId: 'r' })
  expect(await client.next(({ type }) => type === 'refused')).toMatchObject({ problem: { code: 'PERMISSION_DENIED' } })
  const plain = await connect(url, { key: user, protocols: [] })
  plain.send({ type: 'ping' })
  await plain.next(({ type }) => type === 'pong')
  expect(plain.frames.map(({ type }) => type)).toEqual(['pong'])
  const operator = await connect(url, { key: await keyOf('olga', SCOPES), protocols: [] })
  expect(await operator.next(({ type }) => type === 'service')).toMatchObject({ service: { id: 'local' } })
})
