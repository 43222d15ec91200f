import { DefaultChatTransport, readUIMessageStream, type UIMessage, type UIMessageChunk } from 'ai'
import { expect, onTestFinished, test, vi } from 'vitest'
import { type ChatHandlersOptions, createChatHandlers } from '../../src/ai-sdk.ts'
import type { FlowDefinitionInput } from '../../src/domain/definition/flow-definition.ts'
import { createScriptedProvider, type ScriptedReplies } from '../../src/providers/scripted.ts'
import { openTestPolyphony } from '../support/polyphony.ts'

const USER = 'ada'
const ONE_STEP: FlowDefinitionInput = {
  name: 'chat',
  type: 'sequential',
  contextPolicy: { shareConversationHistory: true },
  steps: [{ id: 'answer', model: 'scripted/m', action: 'generate', prompt: 'original' }],
}

/** The handlers behind the transport of `useChat`, whose requests they answer without a network. */
async function openChat(replies: ScriptedReplies, options: Partial<ChatHandlersOptions> = {}) {
  const provider = createScriptedProvider({ replies })
  const polyphony = await openTestPolyphony({ providers: { scripted: provider } })
  onTestFinished(() => polyphony.close())
  await polyphony.dataSharing.set(USER, 'scripted', { allowConversationHistory: true })
  const thread = await polyphony.conversations.createThread(USER)
  const userOf = (request: Request) => request.headers.get('x-user') ?? undefined
  const handlers = createChatHandlers({ polyphony, userOf, flow: ONE_STEP, ...options })
  const asUser = (user: string | undefined) => {
    const fetch: typeof globalThis.fetch = (address, init) => {
      const request = new Request(new URL(String(address), 'http://chat.test'), init)
      return request.method === 'POST' ? handlers.send(request) : handlers.resume(request, thread.id)
    }
    return new DefaultChatTransport<UIMessage>({ fetch, ...(user && { headers: { 'x-user': user } }) })
  }
  const transport = asUser(USER)
  const request = (method = 'GET', user = USER) => new Request('http://chat.test/', { method, headers: { 'x-user': user } })
  return {
    polyphony,
    provider,
    thread,
    handlers,
    request,
    send: (messages: UIMessage[], { user = USER, ...more }: { user?: string; trigger?: 'regenerate-message' } = {}) =>
      asUser(user).sendMessages({
        chatId: thread.id,
        messages,
        trigger: 'submit-message',
        messageId: undefined,
        abortSignal: undefined,
        ...more,
      }),
    resume: () => transport.reconnectToStream({ chatId: thread.id }),
    messages: async () => JSON.parse(await (await handlers.messages(request(), thread.id)).text()) as readonly UIMessage[],
  }
}

const says = (text: string, ...files: UIMessage['parts']): UIMessage => ({
  id: 'm',
  role: 'user',
  parts: [...files, { type: 'text', text }],
})
const textsOf = ({ parts }: UIMessage) => parts.flatMap((part) => (part.type === 'text' ? part.text : []))

async function readChunks(stream: ReadableStream<UIMessageChunk>): Promise<readonly UIMessageChunk[]> {
  const chunks: UIMessageChunk[] = []
  for await (const chunk of stream) chunks.push(chunk)
  return chunks
}

async function read(stream: ReadableStream<UIMessageChunk>): Promise<UIMessage | undefined> {
  let message: UIMessage | undefined
  for await (const state of readUIMessageStream({ stream })) message = state
  return message
}

test('a chat sends, answers and continues with what was said before', async () => {
  const { send, messages, provider } = await openChat([{ chunks: ['Hello', ' Ada'] }, 'Ada, as you said'])
  const first = await read(await send([says('I am Ada')]))
  expect(first && textsOf(first)).toEqual(['Hello Ada'])
  await read(await send([says('I am Ada'), ...(first ? [first] : []), says('Who am I?')]))
  expect(provider.requests[1]?.messages.map(({ role, content }) => `${role}: ${content}`)).toEqual([
    'user: I am Ada',
    'assistant: Hello Ada',
    'user: Who am I?',
  ])
  const stored = await messages()
  expect(stored.map((message) => [message.role, ...textsOf(message)])).toEqual([
    ['user', 'I am Ada'],
    ['assistant', 'Hello Ada'],
    ['user', 'Who am I?'],
    ['assistant', 'Ada, as you said'],
  ])
  expect(stored[1]?.id).toBe(first?.id)
})

test('a reader that leaves stops nothing: another one gets the whole answer, and none is left when it has ended', async () => {
  let write: ((text: string) => void) | undefined
  const { send, resume, messages, provider } = await openChat(() => new Promise((resolve) => (write = resolve)))
  const left = (await send([says('hi')])).getReader()
  expect((await left.read()).value).toMatchObject({ type: 'start' })
  await left.cancel()
  await expect.poll(() => provider.requests.length).toBe(1)
  const again = await resume()
  write?.('the whole answer')
  const message = again && (await read(again))
  expect(message && textsOf(message)).toEqual(['the whole answer'])
  expect(await resume()).toBeNull()
  expect((await messages()).map((stored) => textsOf(stored))).toEqual([['hi'], ['the whole answer']])
})

test('a page that names its last message gets an answer that ended after it read its messages, and none twice', async () => {
  const { send, handlers, thread, messages } = await openChat(['the answer'])
  const after = async (id: string) => {
    const address = `http://chat.test/?after=${id}`
    return handlers.resume(new Request(address, { headers: { 'x-user': USER } }), thread.id)
  }
  const answer = await read(await send([says('hi')]))
  const [question] = await messages()
  expect(await (await after(question?.id ?? '')).text()).toContain('"delta":"the answer"')
  expect((await after(answer?.id ?? '')).status).toBe(204)
})

test('a flow of a chat is one that another process continues after a crash, because no caller would execute it again', async () => {
  const { send, polyphony } = await openChat(['the answer'])
  const startFlow = vi.spyOn(polyphony.orchestrator, 'startFlow')
  await read(await send([says('hi')]))
  expect(startFlow.mock.calls.map(([, user, options]) => [user, options])).toMatchObject([[USER, { resumeAfterCrash: true }]])
})

test('a chat has one answer at a time, which can be stopped', async () => {
  const { send, provider, handlers, request, thread, polyphony } = await openChat([{ chunks: ['first'], hang: true }])
  const running = await send([says('hi')])
  await expect.poll(() => provider.requests.length).toBe(1)
  await expect(send([says('and?')])).rejects.toThrow('Expected the last answer to have ended')
  const chunks = readChunks(running)
  expect((await handlers.stop(request('DELETE'), thread.id)).status).toBe(204)
  expect((await chunks).at(-1)).toMatchObject({ type: 'abort' })
  const [flow] = await polyphony.orchestrator.listFlows(thread.id, USER)
  expect(flow?.status).toBe('CANCELLED')
})

test('a message that is sent twice at once is answered once', async () => {
  const { send, provider } = await openChat([{ chunks: ['first'], hang: true }, 'second'])
  const sent = await Promise.allSettled([send([says('hi')]), send([says('hi')])])
  expect(sent.map(({ status }) => status)).toEqual(['fulfilled', 'rejected'])
  await expect.poll(() => provider.requests.length).toBe(1)
})

test('an answer that is asked for again is not a second question', async () => {
  const { send, messages } = await openChat(['one', 'two'])
  await read(await send([says('hi')]))
  await read(await send([says('hi')], { trigger: 'regenerate-message' }))
  expect((await messages()).map((message) => textsOf(message))).toEqual([['hi'], ['one'], ['two']])
})

test('a flow that waits for a decision ends its stream, which is followed again afterwards', async () => {
  let write: ((text: string) => void) | undefined
  const { send, resume, polyphony, thread, messages } = await openChat(() => new Promise((resolve) => (write = resolve)), {
    flow: {
      name: 'ask',
      type: 'sequential',
      steps: [
        { id: 'ok', action: 'approve', approval: { prompt: 'Shall I?' } },
        { id: 'answer', model: 'scripted/m', action: 'generate', prompt: 'original' },
      ],
    },
  })
  const waiting = await read(await send([says('hi')]))
  expect(waiting?.metadata).toMatchObject({ status: 'PAUSED' })
  const [flow] = await polyphony.orchestrator.listFlows(thread.id, USER)
  const again = await resume()
  expect(again && (await read(again))?.metadata).toMatchObject({ status: 'PAUSED' })
  await polyphony.orchestrator.signal(flow?.id ?? '', USER, 'ok', { approved: true })
  await expect.poll(() => write).toBeDefined()
  const rest = await resume()
  write?.('x')
  const message = rest && (await read(rest))
  expect(message && textsOf(message)).toEqual(['x'])
  expect((await messages()).map((stored) => textsOf(stored))).toEqual([['hi'], ['x']])
})

test('files are stored as data, and addresses are not fetched', async () => {
  const { send, provider, polyphony } = await openChat(['seen'])
  await polyphony.dataSharing.set(USER, 'scripted', { allowAttachments: true })
  const file = { type: 'file', mediaType: 'image/png', filename: 'dot.png' } as const
  await read(await send([says('What is this?', { ...file, url: 'data:image/png;base64,iVBORw0KGgo=' })]))
  const [message] = provider.requests[0]?.messages ?? []
  expect(message?.role === 'user' && message.files).toMatchObject([{ name: 'dot.png', mediaType: 'image/png' }])
  await expect(send([says('and this?', { ...file, url: 'http://10.0.0.7/secret' })])).rejects.toThrow(
    'expected the file as a data URL',
  )
})

test('a file alone is a message, and a reload shows it', async () => {
  const fileUrl = ({ id }: { readonly id: string }) => `/files/${id}`
  const { send, provider, polyphony, messages, thread } = await openChat(['seen'], { stream: { fileUrl } })
  await polyphony.dataSharing.set(USER, 'scripted', { allowAttachments: true })
  const file = { type: 'file', mediaType: 'image/png', filename: 'dot.png', url: 'data:image/png;base64,iVBORw0KGgo=' } as const
  await read(await send([{ id: 'm', role: 'user', parts: [file] }]))
  expect(provider.requests[0]?.messages).toMatchObject([{ role: 'user', content: '', files: [{ name: 'dot.png' }] }])
  const [question, answer] = await messages()
  const [{ file: stored } = {}] = (await polyphony.conversations.getMessages(thread.id, USER))[0]?.attachments ?? []
  expect(question?.parts[0]).toEqual({ type: 'file', mediaType: 'image/png', url: `/files/${stored?.id}` })
  expect(answer && textsOf(answer)).toEqual(['seen'])
})

test('a message that cannot be kept leaves no flow running', async () => {
  const { send, polyphony, thread } = await openChat(() => new Promise(() => {}))
  vi.spyOn(polyphony.conversations, 'addMessage').mockRejectedValueOnce(new Error('lost'))
  await expect(send([says('hi')])).rejects.toThrow()
  await vi.waitFor(async () => {
    const flows = await polyphony.orchestrator.listFlows(thread.id, USER)
    expect(flows.every(({ status }) => status === 'CANCELLED')).toBe(true)
  })
})

test.each([undefined, null, ''])('a session without a user (%j) is refused by every handler', async (user) => {
  const { handlers, request, thread } = await openChat([], { userOf: () => user })
  const answers = [
    handlers.send(request('POST')),
    ...[handlers.resume, handlers.stop, handlers.messages].map((handler) => handler(request(), thread.id)),
  ]
  for (const answer of answers) expect((await answer).status).toBe(401)
})

test('errors have their status and words for users', async () => {
  const { handlers, request, thread } = await openChat([{ chunks: ['first'], hang: true }], { maxBodyBytes: 300 })
  const body = (text: string) => JSON.stringify({ id: thread.id, messages: [says(text)] })
  const sent = (text: string) => new Request('http://chat.test/', { method: 'POST', headers: { 'x-user': USER }, body: text })
  const answers = [
    await handlers.resume(new Request('http://chat.test/'), thread.id),
    await handlers.resume(request('GET', 'eve'), thread.id),
    await handlers.send(sent('{}')),
    await handlers.send(sent(body('x'.repeat(1_000)))),
    await handlers.send(sent(body('hi'))),
    await handlers.send(sent(body('and?'))),
  ]
  expect(answers.map(({ status }) => status)).toEqual([401, 404, 422, 413, 200, 409])
  expect(await answers[3]?.text()).toBe('The request is larger than 300 bytes')
})
