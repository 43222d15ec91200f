import { EventEmitter, once } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { createScriptedProvider } from '../../src/providers/scripted.ts'
import { runServer } from './running-server.ts'

const DEFINITION = {
  name: 'hangs',
  type: 'sequential',
  steps: [{ id: 'only', model: 'scripted/a', action: 'generate', prompt: 'original' }],
}

async function runHangingFlow() {
  const provider = createScriptedProvider({ replies: [{ text: 'half', hang: true }] })
  const running = await runServer({ providers: { scripted: provider } })
  const thread = (await running.send('POST', '/api/v1/threads')).json
  const flow = (await running.send('POST', '/api/v1/flows', { body: { threadId: thread.id, definition: DEFINITION } })).json
  const path = `/api/v1/flows/${flow.id}`
  const isUnderWay = async () => {
    while ((await running.send('GET', `${path}/status`)).json.status !== 'RUNNING') await delay(20)
  }
  return { ...running, path, isUnderWay }
}

test('a request that waits for the end of a flow is answered when the server closes', async () => {
  const { send, server, path, isUnderWay } = await runHangingFlow()
  const waiting = send('POST', `${path}/execute?wait=60000`, { body: { input: 'hello' } })
  await isUnderWay()
  await server.close()
  const answer = await waiting
  expect([answer.status, answer.json.status]).toEqual([202, 'RUNNING'])
})

test('a running request is answered although the server closes', async () => {
  const { send, server, polyphony } = await runHangingFlow()
  const gate = new EventEmitter()
  const asked = once(gate, 'asked')
  const { list } = polyphony.dataSharing
  polyphony.dataSharing.list = async (userId) => {
    const opened = once(gate, 'opened')
    gate.emit('asked')
    await opened
    return list(userId)
  }
  const answer = send('GET', '/api/v1/data-sharing')
  await asked
  const closed = server.close()
  // Long enough for connections to be closed that nobody waits for.
  await delay(30)
  gate.emit('opened')
  expect((await answer).status).toBe(200)
  await closed
})
