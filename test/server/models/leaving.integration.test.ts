import { expect, test, vi } from 'vitest'
import { rejection } from '../../support/caught.ts'
import { type ModelServer, runModelServer, TWO_STEPS, USER } from './model-server.ts'

const ASK = { model: 'flow/two steps', messages: [{ role: 'user' as const, content: 'hi' }] }

async function flowsOf({ polyphony }: ModelServer) {
  const threads = await polyphony.conversations.listThreads(USER)
  const flows = await Promise.all(threads.map(({ id }) => polyphony.orchestrator.listFlows(id, USER)))
  return flows.flat().filter(({ inputStart }) => inputStart !== undefined)
}

/** A server with the flow, whose second step speaks and then never ends. */
async function hanging() {
  const server = await runModelServer(['a draft', { text: '', chunks: ['first words'], hang: true }])
  await server.save(TWO_STEPS)
  return server
}

const cancelled = (server: ModelServer) =>
  vi.waitFor(async () => expect((await flowsOf(server)).map(({ status }) => status)).toEqual(['CANCELLED']))

test('a client that leaves a stream cancels its flow, because no other client could read the answer', async () => {
  const server = await hanging()
  const stream = await server.openai.chat.completions.create({ ...ASK, stream: true })
  for await (const chunk of stream) if (chunk.choices[0]?.delta.content === 'first words') break
  await cancelled(server)
})

test('a client that leaves before the first text of a stream cancels its flow', async () => {
  const server = await runModelServer([{ text: '', hang: true }])
  await server.save(TWO_STEPS)
  const leave = new AbortController()
  const call = rejection(server.openai.chat.completions.create({ ...ASK, stream: true }, { signal: leave.signal }))
  await vi.waitFor(() => expect(server.provider.requests).toHaveLength(1))
  leave.abort()
  await call
  await cancelled(server)
})

test.each(['chat completion', 'response'] as const)(
  'a client that leaves a %s that is not streamed cancels its flow',
  async (kind) => {
    const server = await hanging()
    const leave = new AbortController()
    const { signal } = leave
    const call = rejection(
      kind === 'response'
        ? server.openai.responses.create({ model: ASK.model, input: 'hi' }, { signal })
        : server.openai.chat.completions.create(ASK, { signal }),
    )
    await vi.waitFor(() => expect(server.provider.requests).toHaveLength(2))
    leave.abort()
    await call
    await cancelled(server)
  },
)

test('with an Idempotency-Key a client may leave and request the answer later', async () => {
  const go = new AbortController()
  const server = await runModelServer(async (_, index) => {
    if (index === 0) await new Promise((resolve) => go.signal.addEventListener('abort', resolve, { once: true }))
    return `answer ${index}`
  })
  await server.save(TWO_STEPS)
  const headers = { 'idempotency-key': 'once' }
  const leave = new AbortController()
  const first = rejection(server.openai.chat.completions.create(ASK, { headers, signal: leave.signal }))
  await vi.waitFor(() => expect(server.provider.requests).toHaveLength(1))
  leave.abort()
  await first
  go.abort()
  await vi.waitFor(async () => {
    const { data, response } = await server.openai.chat.completions.create(ASK, { headers }).withResponse()
    expect(data.choices[0]?.message.content).toBe('answer 1')
    expect(response.headers.get('idempotency-replayed')).toBe('true')
  })
  expect(server.provider.requests).toHaveLength(2)
})

test('a closing server ends its answers, so that clients retry at another process, and cancels the flows', async () => {
  const server = await runModelServer(() => ({ text: '', chunks: ['first words'], hang: true }))
  await server.save({ ...TWO_STEPS, steps: TWO_STEPS.steps.slice(0, 1) })
  const whole = rejection(server.openai.chat.completions.create(ASK))
  const stream = server.openai.chat.completions.stream(ASK)
  await new Promise((resolve) => stream.once('content', resolve))
  const streamed = rejection(stream.finalChatCompletion())
  await vi.waitFor(() => expect(server.provider.requests).toHaveLength(2))
  await server.server.close()
  expect(await whole).toMatchObject({ status: 503, code: 'server_closing' })
  expect(await streamed).toMatchObject({ code: 'server_closing' })
  expect((await flowsOf(server)).map(({ status }) => status)).toEqual(['CANCELLED', 'CANCELLED'])
})

test('revoking a key ends its running answers and cancels their flows', async () => {
  const server = await runModelServer(() => ({ text: '', chunks: ['first words'], hang: true }))
  await server.save({ ...TWO_STEPS, steps: TWO_STEPS.steps.slice(0, 1) })
  const whole = rejection(server.openai.chat.completions.create(ASK))
  const stream = server.openai.chat.completions.stream(ASK)
  await new Promise((resolve) => stream.once('content', resolve))
  const streamed = rejection(stream.finalChatCompletion())
  await vi.waitFor(() => expect(server.provider.requests).toHaveLength(2))
  for (const { id } of await server.polyphony.apiKeys.list(USER)) await server.polyphony.apiKeys.revoke(id)
  expect(await whole).toMatchObject({ status: 401, code: 'invalid_api_key' })
  expect(await streamed).toMatchObject({ code: 'invalid_api_key' })
  await vi.waitFor(async () => expect((await flowsOf(server)).map(({ status }) => status)).toEqual(['CANCELLED', 'CANCELLED']))
})
