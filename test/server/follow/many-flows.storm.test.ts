import { expect, test } from 'vitest'
import { createScriptedProvider } from '../../../src/providers/scripted.ts'
import { until } from '../../support/flows.ts'
import { type RunningServer, runServer } from '../running-server.ts'
import { connect, type SocketClient } from '../socket-client.ts'

const FLOWS = 2_000
const SOCKETS = 10
const OPTIONS = { timeout: 300_000 }
const OWNER = 'local'

const definition = {
  name: 'writing',
  type: 'sequential' as const,
  input: 'go',
  steps: [{ id: 'write', model: 'scripted/pen', action: 'generate' as const, prompt: '{{ original }}' }],
}

/** A server whose flows write twenty pieces and then wait to be let go, all at once. */
async function open() {
  const pieces = Array.from({ length: 20 }, (_, index) => `<${index}>`)
  let letGo = () => {}
  const gate = new Promise<void>((resolve) => {
    letGo = resolve
  })
  const pen = createScriptedProvider({ replies: () => gate.then(() => ({ text: pieces.join(''), chunks: pieces })) })
  const running = await runServer({ database: 'memory://?flows=4000', providers: { scripted: pen } })
  const { orchestrator, conversations } = running.polyphony
  const { id: threadId } = await conversations.createThread(OWNER, {})
  return {
    ...running,
    letGo: () => letGo(),
    create: (count: number) =>
      Promise.all(Array.from({ length: count }, async () => (await orchestrator.createFlow(threadId, OWNER, definition)).id)),
    text: pieces.join(''),
  }
}

async function gaugeOf({ send }: RunningServer, name: string): Promise<number> {
  const { text } = await send('GET', '/metrics')
  return Number(new RegExp(`^polyphony_${name} (\\d+)$`, 'm').exec(text)?.[1] ?? Number.NaN)
}

const textOf = ({ frames }: SocketClient, flowId: string): string =>
  frames
    .filter((frame) => frame.flowId === flowId && frame.type === 'step_progress')
    .map(({ data }) => (typeof data === 'object' && data && 'delta' in data ? data.delta : ''))
    .join('')

test('two thousand flows are streamed over ten sockets and continue when half of the sockets leave', OPTIONS, async () => {
  const place = await open()
  const { orchestrator } = place.polyphony
  const flowIds = await place.create(FLOWS)
  const clients = await Promise.all(Array.from({ length: SOCKETS }, () => connect(place.url)))
  const flowsOf = (index: number) => flowIds.filter((_, flow) => flow % SOCKETS === index)
  for (const [index, client] of clients.entries()) {
    for (const flowId of flowsOf(index)) client.send({ type: 'subscribe', flowId })
    await until(() => client.frames.filter(({ type }) => type === 'subscribed').length === FLOWS / SOCKETS)
  }
  expect(await gaugeOf(place, 'subscriptions')).toBe(FLOWS)
  for (const flowId of flowIds) await orchestrator.startFlow(flowId, OWNER, { streaming: true })
  for (const { socket } of clients.slice(SOCKETS / 2)) socket.terminate()
  await until(async () => (await gaugeOf(place, 'subscriptions')) === FLOWS / 2)
  place.letGo()
  for (const [index, client] of clients.slice(0, SOCKETS / 2).entries()) {
    await until(() => client.frames.filter(({ type }) => type === 'end').length === FLOWS / SOCKETS)
    for (const flowId of flowsOf(index)) expect(textOf(client, flowId)).toBe(place.text)
  }
  await until(async () => {
    const statuses = await Promise.all(flowIds.map(async (flowId) => (await orchestrator.getFlowStatus(flowId)).status))
    expect(statuses.filter((status) => status !== 'RUNNING' && status !== 'COMPLETED')).toEqual([])
    return statuses.every((status) => status === 'COMPLETED')
  })
  expect(await gaugeOf(place, 'subscriptions')).toBe(0)
})

test('a thousand ended subscriptions leave nothing behind, however they ended', OPTIONS, async () => {
  const place = await open()
  const [flowId = '', other = ''] = await place.create(2)
  await place.polyphony.orchestrator.startFlow(flowId, OWNER, { streaming: true })
  // Five clients, so that none asks faster than it may.
  await Promise.all(
    Array.from({ length: 5 }, async () => {
      const client = await connect(place.url)
      for (let round = 0; round < 200; round++) {
        client.send({ type: 'subscribe', flowId, afterSeq: round % 3 })
        if (round % 10 === 0) client.send({ type: 'subscribe', flowId: other })
        // The second takes the place of the first.
        if (round % 5 === 0) client.send({ type: 'subscribe', flowId })
        client.send({ type: 'unsubscribe', flowId })
      }
      client.send({ type: 'unsubscribe', flowId: other })
      await until(() => client.frames.filter(({ type }) => type === 'unsubscribed').length === 201)
    }),
  )
  await until(async () => (await gaugeOf(place, 'subscriptions')) === 0)
  for (let round = 0; round < 100; round++) {
    const leaving = await connect(place.url)
    leaving.send({ type: 'subscribe', flowId })
    if (round % 2 === 0) await leaving.next(({ type }) => type === 'subscribed')
    leaving.socket.terminate()
    const left = new AbortController()
    const stream = fetch(`${place.url}/api/v1/flows/${flowId}/updates`, { signal: left.signal })
    if (round % 2 === 0) await stream
    left.abort()
    await stream.catch(() => {})
  }
  await until(async () => (await gaugeOf(place, 'subscriptions')) === 0 && (await gaugeOf(place, 'open_sockets')) <= 5)
  expect(await gaugeOf(place, 'open_sockets')).toBe(5)
  expect((await place.polyphony.orchestrator.getFlowStatus(flowId)).status).toBe('RUNNING')
})
