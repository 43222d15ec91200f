import { BadRequestError, NotFoundError } from 'openai'
import type { Response, ResponseStreamEvent } from 'openai/resources/responses/responses'
import { expect, test, vi } from 'vitest'
import { OrchestratorError } from '../../../src/errors/orchestrator-error.ts'
import { rejection } from '../../support/caught.ts'
import { eventsOf } from '../running-server.ts'
import { type ModelServer, runModelServer, speaksThenFails, TWO_STEPS, USAGE, USER } from './model-server.ts'

const MODEL = 'flow/two steps'
const ask = (input: string) => ({ model: MODEL, input })

async function twoSteps(replies: Parameters<typeof runModelServer>[0] = () => ({ text: 'the answer', usage: USAGE })) {
  const server = await runModelServer(replies)
  await server.save(TWO_STEPS)
  return server
}

const flowOf = ({ polyphony }: ModelServer, { id }: Response) => polyphony.orchestrator.getFlow(id.replace('resp_', ''), USER)

async function threadOf(server: ModelServer, response: Response) {
  const { threadId } = await flowOf(server, response)
  const messages = await server.polyphony.conversations.getMessages(threadId, USER)
  return { threadId, messages: messages.map(({ role, content }) => `${role}: ${content}`) }
}

test('a response is the answer of the last step, with usage and cost of all steps', async () => {
  const { openai } = await twoSteps()
  const { data, response } = await openai.responses
    .create({
      model: MODEL,
      instructions: 'Be brief.',
      input: [
        { role: 'user', content: [{ type: 'input_text', text: 'hi' }] },
        { role: 'assistant', content: 'hello' },
        { type: 'message', role: 'user', content: 'Why?' },
      ],
      metadata: { ticket: '42' },
      store: false,
      tools: [],
      max_output_tokens: 9,
    })
    .withResponse()
  const flowId = data.id.replace('resp_', '')
  expect(data.output_text).toBe('the answer')
  expect(data).toMatchObject({
    object: 'response',
    status: 'completed',
    model: MODEL,
    instructions: 'Be brief.',
    error: null,
    incomplete_details: null,
    metadata: { ticket: '42' },
    output: [
      {
        type: 'message',
        id: `msg_${flowId}`,
        status: 'completed',
        role: 'assistant',
        content: [{ type: 'output_text', text: 'the answer', annotations: [] }],
      },
    ],
    usage: {
      input_tokens: 20,
      input_tokens_details: { cached_tokens: 8 },
      output_tokens: 10,
      output_tokens_details: { reasoning_tokens: 4 },
      total_tokens: 30,
    },
    polyphony: { flow_id: flowId, cost_usd: 0.04, unpriced_steps: 0, simulated: false },
  })
  expect(response.headers.get('x-polyphony-cost-usd')).toBe('0.04')
})

test('only its caller can read a response again later', async () => {
  const server = await twoSteps()
  const { openai, clientOf } = server
  const created = await openai.responses.create(ask('hi'))
  expect(await openai.responses.retrieve(created.id)).toEqual(created)
  const other = await clientOf('user-2')
  const chat = await openai.chat.completions.create({ model: MODEL, messages: [{ role: 'user', content: 'hi' }] })
  const ofChat = chat.id.replace('chatcmpl-', 'resp_')
  for (const [client, id] of [
    [other, created.id],
    [other, 'resp_01a1f7c2-86a1-7975-be65-cfecbd1640a7'],
    [openai, 'resp_x'],
    [openai, 'none'],
    [openai, ofChat],
  ] as const) {
    for (const call of [client.responses.retrieve(id), client.responses.cancel(id)]) {
      const error = await rejection(call)
      expect(error).toBeInstanceOf(NotFoundError)
      expect(error).toMatchObject({
        type: 'invalid_request_error',
        code: 'not_found',
        message: `404 Response with id '${id}' not found.`,
      })
    }
  }
})

test('the events of a stream are in order, are numbered, and form the same response', async () => {
  const server = await twoSteps(() => ({ text: 'one two', chunks: ['one ', 'two'], usage: USAGE }))
  const stream = server.openai.responses.stream(ask('hi'))
  const events: ResponseStreamEvent[] = []
  stream.on('event', (event) => events.push(event))
  const final = await stream.finalResponse()
  expect(events.map(({ type }) => type)).toEqual([
    'response.created',
    'response.in_progress',
    'response.output_item.added',
    'response.content_part.added',
    'response.output_text.delta',
    'response.output_text.delta',
    'response.output_text.done',
    'response.content_part.done',
    'response.output_item.done',
    'response.completed',
  ])
  expect(events.map((event) => event.sequence_number)).toEqual(events.map((_, index) => index))
  expect(final.output_text).toBe('one two')
  expect(await server.openai.responses.retrieve(final.id)).toMatchObject({
    status: 'completed',
    output_text: 'one two',
    usage: final.usage,
    polyphony: { cost_usd: 0.04 },
  })
})

test('events have names, and nothing comes after the last one', async () => {
  const { url, keyOf } = await twoSteps()
  const raw = await fetch(`${url}/v1/responses`, {
    method: 'POST',
    headers: { authorization: `Bearer ${await keyOf(USER)}`, 'content-type': 'application/json' },
    body: JSON.stringify({ ...ask('hi'), stream: true }),
  })
  const events = eventsOf(await raw.text())
  expect(events.every(({ event, data }) => event === data.type)).toBe(true)
  expect(events.at(-1)?.event).toBe('response.completed')
})

test('a refusal in the middle of a text ends the text first', async () => {
  const refused = { text: '', chunks: ['I co'], refusal: 'I will not.', finishReason: 'refusal' as const }
  const { openai } = await twoSteps(['a draft', refused])
  const parts: string[] = []
  for await (const event of await openai.responses.create({ ...ask('hi'), stream: true })) {
    if ('content_index' in event) parts.push(`${event.content_index} ${event.type.replace('response.', '')}`)
  }
  expect(parts).toEqual([
    '0 content_part.added',
    '0 output_text.delta',
    '0 output_text.done',
    '0 content_part.done',
    '1 content_part.added',
    '1 refusal.delta',
    '1 refusal.done',
    '1 content_part.done',
  ])
})

test('refusals and cut answers are marked as such, streamed or not', async () => {
  const refused = { text: '', refusal: 'I will not.', finishReason: 'refusal' as const }
  const cut = { text: 'the ans', finishReason: 'length' as const }
  const { openai } = await twoSteps(['a draft', refused, 'a draft', refused, 'a draft', cut, 'a draft', cut])
  const refusal = { status: 'completed', output: [{ content: [{ type: 'refusal', refusal: 'I will not.' }] }] }
  expect(await openai.responses.create(ask('hi'))).toMatchObject(refusal)
  expect(await openai.responses.stream(ask('hi')).finalResponse()).toMatchObject(refusal)
  const incomplete = { status: 'incomplete', incomplete_details: { reason: 'max_output_tokens' }, output_text: 'the ans' }
  expect(await openai.responses.create(ask('hi'))).toMatchObject(incomplete)
  expect(await openai.responses.stream(ask('hi')).finalResponse()).toMatchObject(incomplete)
})

test('a flow that fails while streaming ends with response.failed and stays failed when read again', async () => {
  const cut = new OrchestratorError('PROVIDER_STREAM_CUT', 'the answer was cut')
  const { openai, save } = await runModelServer([], speaksThenFails('first words', cut))
  await save({ ...TWO_STEPS, steps: TWO_STEPS.steps.slice(0, 1) })
  const failed = { status: 'failed', error: { code: 'provider_stream_cut', message: 'the answer was cut' }, output: [] }
  const response = await openai.responses.stream(ask('hi')).finalResponse()
  expect(response).toMatchObject(failed)
  expect(await openai.responses.retrieve(response.id)).toMatchObject(failed)
  expect(await rejection(openai.responses.create(ask('hi')))).toMatchObject({ status: 502, code: 'provider_stream_cut' })
})

test('a response continues the previous one in the same thread', async () => {
  const server = await twoSteps((_, index) => `answer ${index}`)
  const { openai, polyphony, provider } = server
  await polyphony.dataSharing.set(USER, 'scripted', { allowConversationHistory: true, allowCrossProviderContext: true })
  const first = await openai.responses.create({ ...ask('My name is Ada.'), instructions: 'Be brief.' })
  const second = await openai.responses.create({
    ...ask('What is my name?'),
    instructions: 'Be brief.',
    previous_response_id: first.id,
  })
  expect(second.previous_response_id).toBe(first.id)
  const thread = await threadOf(server, second)
  expect(thread.threadId).toBe((await flowOf(server, first)).threadId)
  expect(thread.messages).toEqual([
    'system: Be brief.',
    'user: My name is Ada.',
    'assistant: answer 1',
    'user: What is my name?',
    'assistant: answer 3',
  ])
  expect(provider.requests[2]).toMatchObject({
    system: 'Be brief.',
    messages: [
      { role: 'user', content: 'My name is Ada.' },
      { role: 'assistant', content: 'answer 1' },
      { role: 'user', content: 'What is my name?' },
    ],
  })
})

test('two responses that continue from one response do not see each other, even at the same time', async () => {
  const server = await twoSteps((_, index) => `answer ${index}`)
  const first = await server.openai.responses.create(ask('one'))
  const [left, right] = await Promise.all(
    ['left', 'right'].map((input) => server.openai.responses.create({ ...ask(input), previous_response_id: first.id })),
  )
  if (!left || !right) throw new Error('expected two responses')
  const threads = [await threadOf(server, left), await threadOf(server, right)]
  expect(new Set(threads.map(({ threadId }) => threadId)).size).toBe(2)
  for (const [index, { messages }] of threads.entries()) {
    expect(messages.slice(0, 3)).toEqual(['user: one', 'assistant: answer 1', `user: ${['left', 'right'][index]}`])
    expect(messages).toHaveLength(4)
  }
})

test('instructions do not carry over to the next response', async () => {
  const server = await twoSteps()
  const first = await server.openai.responses.create({ ...ask('one'), instructions: 'Be brief.' })
  for (const [instructions, expected] of [
    [undefined, []],
    ['Be long.', ['system: Be long.']],
  ] as const) {
    const next = await server.openai.responses.create({ ...ask('two'), instructions, previous_response_id: first.id })
    const { threadId, messages } = await threadOf(server, next)
    expect(threadId).not.toBe((await flowOf(server, first)).threadId)
    expect(messages).toEqual([...expected, 'user: one', 'assistant: the answer', 'user: two', 'assistant: the answer'])
  }
})

test('a response of another user, an unknown one and one without an answer cannot be continued', async () => {
  const { openai, clientOf, save, polyphony } = await twoSteps((_, index) =>
    index < 2 ? 'the answer' : new OrchestratorError('PROVIDER_REJECTED', 'no'),
  )
  const first = await openai.responses.create(ask('one'))
  await save(TWO_STEPS, 'user-2')
  const other = await clientOf('user-2')
  const before = await polyphony.conversations.listThreads('user-2')
  for (const id of [first.id, 'resp_01a1f7c2-86a1-7975-be65-cfecbd1640a7', 'none']) {
    const error = await rejection(other.responses.create({ ...ask('two'), previous_response_id: id }))
    expect(error).toBeInstanceOf(BadRequestError)
    expect(error).toMatchObject({
      code: 'previous_response_not_found',
      param: 'previous_response_id',
      message: `400 Previous response with id '${id}' not found.`,
    })
  }
  expect(await polyphony.conversations.listThreads('user-2')).toEqual(before)
  const failed = await openai.responses.stream(ask('two')).finalResponse()
  expect(await rejection(openai.responses.create({ ...ask('three'), previous_response_id: failed.id }))).toMatchObject({
    status: 400,
    code: 'previous_response_not_completed',
  })
})

test('a background response is returned at once, and can be read and continued later', async () => {
  let go = () => {}
  const gate = new Promise<void>((resolve) => {
    go = resolve
  })
  const server = await twoSteps(async () => {
    await gate
    return 'the answer'
  })
  const { openai } = server
  const queued = await openai.responses.create({ ...ask('one'), background: true })
  expect(queued).toMatchObject({ status: 'queued', background: true, output: [] })
  expect(await openai.responses.retrieve(queued.id)).toMatchObject({ status: 'in_progress', background: true })
  expect(await rejection(openai.responses.create({ ...ask('two'), previous_response_id: queued.id }))).toMatchObject({
    code: 'previous_response_not_completed',
  })
  go()
  await vi.waitFor(async () =>
    expect(await openai.responses.retrieve(queued.id)).toMatchObject({ status: 'completed', output_text: 'the answer' }),
  )
  const next = await openai.responses.create({ ...ask('two'), previous_response_id: queued.id })
  expect((await threadOf(server, next)).messages).toEqual([
    'user: one',
    'assistant: the answer',
    'user: two',
    'assistant: the answer',
  ])
})

test('a background response continues when its stream is left', async () => {
  let go = () => {}
  const gate = new Promise<void>((resolve) => {
    go = resolve
  })
  const { openai, provider } = await twoSteps(async () => {
    await gate
    return 'the answer'
  })
  const stream = await openai.responses.create({ ...ask('one'), background: true, stream: true })
  let id = ''
  for await (const event of stream) {
    if (event.type === 'response.created') id = event.response.id
    else break
  }
  await vi.waitFor(() => expect(provider.requests).toHaveLength(1))
  expect(await openai.responses.retrieve(id)).toMatchObject({ status: 'in_progress' })
  go()
  await vi.waitFor(async () => expect(await openai.responses.retrieve(id)).toMatchObject({ status: 'completed' }))
})

test('a background response can be cancelled', async () => {
  const { openai, provider } = await twoSteps([{ text: '', hang: true }])
  const { id } = await openai.responses.create({ ...ask('one'), background: true })
  await vi.waitFor(() => expect(provider.requests).toHaveLength(1))
  expect(await openai.responses.cancel(id)).toMatchObject({ id, status: 'cancelled' })
  expect(await openai.responses.retrieve(id)).toMatchObject({ status: 'cancelled' })
})

const IMAGE = { type: 'input_image' as const, image_url: 'https://example.com/a.png', detail: 'auto' as const }
test.each([
  ['tools', { tools: [{ type: 'web_search' as const }] }, 'tools[0].type'],
  ['JSON', { text: { format: { type: 'json_object' as const } } }, 'text.format'],
  ['a stored conversation', { conversation: 'conv_1' }, 'conversation'],
  ['a stored prompt', { prompt: { id: 'pmpt_1' } }, 'prompt'],
  ['an image', { input: [{ role: 'user' as const, content: [IMAGE] }] }, 'input[0].content[0]'],
  ['the result of a tool', { input: [{ type: 'function_call_output' as const, call_id: 'x', output: '1' }] }, 'input[0]'],
  ['nothing', { input: '' }, 'input'],
])('%s is refused with the name of the field', async (_, more, param) => {
  const { openai } = await twoSteps()
  const error = await rejection(openai.responses.create({ ...ask('hi'), ...more }))
  expect(error).toBeInstanceOf(BadRequestError)
  expect(error).toMatchObject({ param, type: 'invalid_request_error' })
})

test('the output of a response can be sent back as input', async () => {
  const server = await twoSteps()
  const first = await server.openai.responses.create(ask('one'))
  const [message] = first.output
  if (message?.type !== 'message') throw new Error('expected a message')
  const next = await server.openai.responses.create({ model: MODEL, input: [message, { role: 'user', content: 'two' }] })
  expect((await threadOf(server, next)).messages).toEqual(['assistant: the answer', 'user: two', 'assistant: the answer'])
})
