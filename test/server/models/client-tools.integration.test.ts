import OpenAI, { BadRequestError } from 'openai'
import { describe, expect, test, vi } from 'vitest'
import type { FlowDefinitionInput } from '../../../src/domain/definition/flow-definition.ts'
import { flowOfCallerCall } from '../../../src/domain/tools/caller-call-id.ts'
import type { ScriptedReplies } from '../../../src/providers/scripted.ts'
import { rejection } from '../../support/caught.ts'
import { DATABASES } from '../../support/databases.ts'
import { calling, toolAnswers } from '../../support/tool-world.ts'
import { type ModelServer, runModelServer, TWO_STEPS, USAGE, USER } from './model-server.ts'

const MODEL = 'flow/two steps'
const QUESTION = { role: 'user' as const, content: 'Is it warm in Rome?' }
const parameters = { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] }
const described = { name: 'weather', description: 'Tells the weather', parameters }
const tools = [{ type: 'function' as const, function: described }]
const costOf = (completion: object): unknown => ('polyphony' in completion ? Object(completion.polyphony).cost_usd : undefined)

const WEATHER: ScriptedReplies = [
  { text: 'a draft', usage: USAGE },
  { ...calling(['weather', { city: 'Rome' }]), usage: USAGE },
  { text: 'It is 30 degrees.', usage: USAGE },
]
const TWO_CITIES: ScriptedReplies = [
  'a draft',
  calling(['weather', { city: 'Rome' }], ['weather', { city: 'Oslo' }]),
  'Rome is warm.',
]

async function serve(replies: ScriptedReplies = WEATHER, definition: FlowDefinitionInput = TWO_STEPS): Promise<ModelServer> {
  const server = await runModelServer(replies)
  await server.save(definition)
  return server
}

type Message = OpenAI.ChatCompletionMessageParam
const create = (openai: OpenAI, messages: Message[]) => openai.chat.completions.create({ model: MODEL, messages, tools })

/** The first answer of a chat, with the message that calls tools and the ids of its calls. */
async function firstCall(openai: OpenAI) {
  const first = await create(openai, [QUESTION])
  const message = first.choices[0]?.message
  const ids = (message?.tool_calls ?? []).map(({ id }) => id)
  if (!message || ids.length === 0) throw new Error('expected a message with calls')
  const result = (index: number, content: string): Message => ({ role: 'tool', tool_call_id: ids[index] ?? '', content })
  return { first, message, ids, result, flowId: first.id.replace('chatcmpl-', '') }
}

describe('chat completions with tools of the client', () => {
  test('a call is the answer, and the next request continues the flow with its result: no turn and no step is paid twice', async () => {
    const { openai, provider, polyphony } = await serve()
    const { first, message, ids, result, flowId } = await firstCall(openai)
    expect(first).toMatchObject({
      choices: [
        {
          finish_reason: 'tool_calls',
          message: {
            content: null,
            tool_calls: [{ type: 'function', function: { name: 'weather', arguments: '{"city":"Rome"}' } }],
          },
        },
      ],
      usage: { prompt_tokens: 20, completion_tokens: 10 },
    })
    expect(ids[0]?.length).toBeLessThanOrEqual(64)
    expect(provider.requests.map((request) => request.tools)).toEqual([undefined, [described]])
    const second = await create(openai, [QUESTION, message, result(0, '30')])
    expect(second).toMatchObject({
      choices: [{ finish_reason: 'stop', message: { content: 'It is 30 degrees.' } }],
      usage: { prompt_tokens: 10, completion_tokens: 5 },
    })
    // Clients take completions with the same id for the same message.
    expect(second.id).not.toBe(first.id)
    expect(provider.requests).toHaveLength(3)
    expect(provider.requests.slice(2).map(toolAnswers)).toEqual([['30']])
    const flow = await polyphony.orchestrator.getFlow(flowId, USER)
    expect(flow.result?.totalCost).toBeCloseTo(0.06)
    expect([costOf(first), costOf(second)]).toEqual([0.04, 0.02])
  })

  test('a stream holds the calls, and runTools of the client comes to the answer', async () => {
    const { openai, provider } = await serve()
    const seen: unknown[] = []
    const runner = openai.chat.completions.runTools({
      model: MODEL,
      messages: [QUESTION],
      stream: true,
      tools: [
        {
          type: 'function',
          function: {
            ...described,
            parse: JSON.parse,
            function: (given: object) => {
              seen.push(given)
              return '30'
            },
          },
        },
      ],
    })
    expect(await runner.finalContent()).toBe('It is 30 degrees.')
    expect(seen).toEqual([{ city: 'Rome' }])
    expect(provider.requests).toHaveLength(3)
  })

  test('the results of two calls of one turn come together; one alone is refused and changes nothing', async () => {
    const { openai, provider } = await serve(TWO_CITIES)
    const { message, ids, result } = await firstCall(openai)
    expect(ids).toHaveLength(2)
    const refused = await rejection(create(openai, [QUESTION, message, result(0, 'warm')]))
    expect(refused).toBeInstanceOf(BadRequestError)
    expect(refused).toMatchObject({ status: 400, message: expect.stringContaining(ids[1] ?? '') })
    expect(provider.requests).toHaveLength(2)
    const done = await create(openai, [QUESTION, message, result(1, 'cold'), result(0, 'warm')])
    expect(done.choices[0]?.message.content).toBe('Rome is warm.')
    expect(provider.requests.slice(2).map(toolAnswers)).toEqual([['warm', 'cold']])
  })

  test('the same results twice have the same answer, also while later calls are open', async () => {
    const { openai, provider } = await serve([
      'a draft',
      calling(['weather', { city: 'Rome' }]),
      calling(['weather', { city: 'Oslo' }]),
      'done',
    ])
    const { message, result } = await firstCall(openai)
    const messages = [QUESTION, message, result(0, 'warm')]
    const [second, again] = [await create(openai, messages), await create(openai, messages)]
    expect(second.choices[0]?.message.tool_calls).toMatchObject([{ function: { arguments: '{"city":"Oslo"}' } }])
    expect(again).toEqual(second)
    const next = second.choices[0]?.message
    const id = next?.tool_calls?.[0]?.id ?? ''
    if (!next) throw new Error('expected a message')
    const all: Message[] = [...messages, next, { role: 'tool', tool_call_id: id, content: 'cold' }]
    expect((await create(openai, all)).choices[0]?.message.content).toBe('done')
    expect((await create(openai, all)).choices[0]?.message.content).toBe('done')
    // A client may send an old exchange again, or leave one out.
    expect(await create(openai, messages)).toEqual(second)
    expect((await create(openai, [QUESTION, next, ...all.slice(-1)])).choices[0]?.message.content).toBe('done')
    expect(provider.requests).toHaveLength(4)
  })

  test('ids of other users, of no flow and of no form are refused by name', async () => {
    const { openai, clientOf, provider } = await serve()
    const { ids, message, flowId, result } = await firstCall(openai)
    const [id = ''] = ids
    const stranger = await clientOf('user-2')
    const hostile = [
      '',
      'call_1',
      `${id}0`,
      id.replace(/.{16}$/, '0123456789abcdef'),
      'call_../../x',
      id.replace(flowId, crypto.randomUUID()),
    ]
    const send = (client: OpenAI, given: string) =>
      create(client, [QUESTION, { role: 'tool', tool_call_id: given, content: '30' }])
    expect(await rejection(send(stranger, id))).toMatchObject({ status: 400, message: expect.stringContaining(id) })
    for (const given of hostile) {
      expect(await rejection(send(openai, given))).toMatchObject({ status: 400, message: expect.stringContaining(given) })
    }
    const mixed: Message[] = [QUESTION, message, result(0, '30'), { role: 'tool', tool_call_id: 'call_1', content: 'x' }]
    expect(await rejection(create(openai, mixed))).toMatchObject({ status: 400 })
    expect(provider.requests).toHaveLength(2)
    expect((await create(openai, [QUESTION, message, result(0, '30')])).choices[0]?.message.content).toBe('It is 30 degrees.')
  })

  test('a flow that was deleted or cancelled is a clear error', async () => {
    const { openai, polyphony } = await serve([...(WEATHER as readonly []), ...(WEATHER as readonly [])])
    const cancelled = await firstCall(openai)
    await polyphony.orchestrator.cancelFlow(cancelled.flowId, USER)
    const send = () => rejection(create(openai, [QUESTION, cancelled.message, cancelled.result(0, '30')]))
    expect(await send()).toMatchObject({ code: 'flow_cancelled' })
    await polyphony.orchestrator.deleteFlow(cancelled.flowId, USER)
    expect(await send()).toMatchObject({ status: 400, message: expect.stringContaining(cancelled.ids[0] ?? '') })
  })

  test('an exchange that is over goes into the conversation of the next flow as text', async () => {
    const { openai, provider, polyphony } = await serve(['a draft', 'Yes.'])
    await polyphony.dataSharing.set(USER, 'scripted', { allowConversationHistory: true, allowCrossProviderContext: true })
    const called = {
      id: 'call_of_another_model',
      type: 'function' as const,
      function: { name: 'weather', arguments: '{"city":"Rome"}' },
    }
    const done = await create(openai, [
      QUESTION,
      { role: 'assistant', content: 'Let me see.', tool_calls: [called] },
      { role: 'tool', tool_call_id: called.id, content: '30' },
      { role: 'assistant', content: 'It is warm.' },
      { role: 'user', content: 'Really?' },
    ])
    expect(done.choices[0]?.message.content).toBe('Yes.')
    const sent = provider.requests[0]?.messages.map(({ role, content }) => [role, content])
    expect(sent).toEqual([
      ['user', QUESTION.content],
      ['assistant', 'Let me see.\n[Called the tool weather with {"city":"Rome"}]'],
      ['user', '[Result of the tool weather: 30]'],
      ['assistant', 'It is warm.'],
      ['user', expect.stringContaining('Really?')],
    ])
  })

  test('tool_choice and parallel_tool_calls reach the model that answers; with none it has no tools', async () => {
    const { openai, provider } = await serve(['a', calling(['weather', { city: 'Rome' }]), 'b', 'c'])
    const common = { model: MODEL, messages: [QUESTION], tools }
    const choice = { type: 'function' as const, function: { name: 'weather' } }
    await openai.chat.completions.create({ ...common, tool_choice: choice, parallel_tool_calls: false })
    expect(provider.requests[1]).toMatchObject({ toolChoice: { name: 'weather' }, settings: { parallelToolCalls: false } })
    await openai.chat.completions.create({ ...common, tool_choice: 'none' })
    expect(provider.requests[3]?.tools).toBeUndefined()
    for (const tool_choice of [{ type: 'function', function: { name: 'other' } }, { type: 'allowed_tools' }, 'always'] as const) {
      const refused = await rejection(openai.chat.completions.create({ ...common, tool_choice: tool_choice as never }))
      expect(refused).toMatchObject({ status: 400, param: 'tool_choice' })
    }
  })

  test('the definition keeps its name: the tools of one request are no tools of the next', async () => {
    const { openai, provider } = await serve(['a draft', calling(['weather', { city: 'Rome' }]), 'a draft', 'plain'])
    await firstCall(openai)
    const { data: models } = await openai.models.list()
    expect(models.filter(({ id }) => id.startsWith(MODEL)).map(({ id }) => id)).toEqual([MODEL])
    const plain = await openai.chat.completions.create({ model: MODEL, messages: [QUESTION] })
    expect(plain.choices[0]?.message.content).toBe('plain')
    expect(provider.requests.at(-1)?.tools).toBeUndefined()
  })
})

describe('a flow that waits for its client', () => {
  test('outlives the connection; one that runs is cancelled with it', async () => {
    const { openai, polyphony, provider } = await serve([
      'a draft',
      calling(['weather', { city: 'Rome' }]),
      { text: '', hang: true },
    ])
    const stream = await openai.chat.completions.create({ model: MODEL, messages: [QUESTION], tools, stream: true })
    let id = ''
    for await (const { choices } of stream) {
      id = choices[0]?.delta.tool_calls?.[0]?.id ?? id
      if (id !== '') break
    }
    const flowId = flowOfCallerCall(id) ?? ''
    expect((await polyphony.orchestrator.getFlowStatus(flowId)).status).toBe('PAUSED')
    const leave = new AbortController()
    const body = { model: MODEL, messages: [QUESTION, { role: 'tool' as const, tool_call_id: id, content: '30' }], tools }
    const left = rejection(openai.chat.completions.create(body, { signal: leave.signal }))
    await vi.waitFor(() => expect(provider.requests).toHaveLength(3))
    leave.abort()
    await left
    await vi.waitFor(async () => expect((await polyphony.orchestrator.getFlowStatus(flowId)).status).toBe('CANCELLED'))
  })

  test.each(Object.entries(DATABASES))('continues in another process, on %s', async (_, openDatabase) => {
    const { url: database, drop } = await openDatabase()
    const before = await runModelServer(WEATHER, undefined, { database })
    await before.save(TWO_STEPS)
    const { message, result } = await firstCall(before.openai)
    const key = await before.keyOf(USER)
    await before.close()
    const after = await runModelServer([{ text: 'It is 30 degrees.', usage: USAGE }], undefined, { database })
    const openai = new OpenAI({ baseURL: `${after.url}/v1`, apiKey: key, maxRetries: 0 })
    const done = await create(openai, [QUESTION, message, result(0, '30')])
    expect(done).toMatchObject({ choices: [{ message: { content: 'It is 30 degrees.' } }], usage: { prompt_tokens: 10 } })
    expect(costOf(done)).toBe(0.02)
    expect(after.provider.requests.map(toolAnswers)).toEqual([['30']])
    await after.close()
    await drop()
  })
})

test('a definition over HTTP has caller tools, whose calls are listed and answered over HTTP', async () => {
  const { send, keyOf, polyphony } = await runModelServer([calling(['weather', { city: 'Rome' }]), 'sunny'])
  const key = await keyOf(USER)
  const { id: threadId } = await polyphony.conversations.createThread(USER, {})
  const step = { id: 'answer', model: 'scripted/m', action: 'generate', prompt: 'original', tools: ['caller/*'] }
  const definition = { name: 'over HTTP', type: 'sequential', callerTools: [described], steps: [step] }
  const { json: flow } = await send('POST', '/api/v1/flows', { key, body: { threadId, definition } })
  const { json: paused } = await send('POST', `/api/v1/flows/${flow.id}/execute?wait=20000`, { key, body: { input: 'Warm?' } })
  expect(paused).toMatchObject({ status: 'PAUSED' })
  const { json: list } = await send('GET', `/api/v1/waiting?flowId=${flow.id}`, { key })
  expect(list).toMatchObject({ items: [{ path: 'answer@1.1', kind: 'caller', event: 'weather', mayAnswer: true }] })
  const at = `/api/v1/flows/${flow.id}/steps/${encodeURIComponent('answer@1.1')}/signal`
  expect(await send('POST', at, { key, body: { data: '30' } })).toMatchObject({ status: 200 })
  await vi.waitFor(async () =>
    expect((await polyphony.orchestrator.getFlow(String(flow.id), USER)).result).toMatchObject({ finalOutput: 'sunny' }),
  )
})

test.each([100, 2_000, 50_000])('a schema of %i levels is served or refused, and the server lives', async (levels) => {
  const { url, openai, keyOf, save } = await runModelServer(() => 'an answer')
  await save(TWO_STEPS)
  const schema = `${'{"type":"object","properties":{"a":'.repeat(levels)}{"type":"string"}${'}}'.repeat(levels)}`
  const tool = `{"type":"function","function":{"name":"f","parameters":${schema}}}`
  const { status } = await fetch(`${url}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: `Bearer ${await keyOf(USER)}` },
    body: `{"model":"${MODEL}","messages":[{"role":"user","content":"hi"}],"tools":[${tool}]}`,
  })
  expect(status).toBe(levels === 100 ? 200 : 400)
  expect((await create(openai, [QUESTION])).choices[0]?.message.content).toBe('an answer')
})

describe('responses with tools of the client', () => {
  const responseTools = [{ type: 'function' as const, strict: null, ...described }]
  const ask = { model: MODEL, tools: responseTools }

  test('a call is an item of the output, and its output continues the flow, which both responses can be read of', async () => {
    const { openai, provider } = await serve()
    const first = await openai.responses.create({ ...ask, input: QUESTION.content })
    const [call] = first.output
    expect(first).toMatchObject({ status: 'completed', usage: { input_tokens: 20 }, polyphony: { cost_usd: 0.04 } })
    expect(call).toMatchObject({ type: 'function_call', name: 'weather', arguments: '{"city":"Rome"}', status: 'completed' })
    if (call?.type !== 'function_call') throw new Error('expected a call')
    const output = { type: 'function_call_output' as const, call_id: call.call_id, output: '30' }
    const second = await openai.responses.create({ ...ask, previous_response_id: first.id, input: [output] })
    expect(second).toMatchObject({ status: 'completed', output_text: 'It is 30 degrees.', usage: { input_tokens: 10 } })
    expect(second).toMatchObject({ polyphony: { cost_usd: 0.02 } })
    expect(second.id).not.toBe(first.id)
    const whole = await openai.responses.create({ ...ask, input: [{ role: 'user', content: QUESTION.content }, call, output] })
    expect(whole.output_text).toBe('It is 30 degrees.')
    expect((await openai.responses.retrieve(first.id)).output).toEqual(first.output)
    expect(await openai.responses.retrieve(first.id)).toMatchObject({
      usage: { input_tokens: 20 },
      polyphony: { cost_usd: 0.04 },
    })
    expect((await openai.responses.retrieve(second.id)).output).toEqual(second.output)
    expect(provider.requests).toHaveLength(3)
  })

  test('a stream has the events of calls', async () => {
    const { openai } = await serve()
    const stream = openai.responses.stream({ ...ask, input: QUESTION.content })
    const types: string[] = []
    for await (const { type } of stream) types.push(type)
    expect(types).toEqual([
      'response.created',
      'response.in_progress',
      'response.output_item.added',
      'response.function_call_arguments.delta',
      'response.function_call_arguments.done',
      'response.output_item.done',
      'response.completed',
    ])
    expect((await stream.finalResponse()).output).toMatchObject([{ type: 'function_call', arguments: '{"city":"Rome"}' }])
  })

  test('a conversation continues after an answer that needed a tool', async () => {
    const { openai, provider } = await serve([...(WEATHER as readonly []), 'a draft', 'Yes.'])
    const first = await openai.responses.create({ ...ask, input: QUESTION.content })
    const next = await rejection(openai.responses.create({ ...ask, previous_response_id: first.id, input: 'Really?' }))
    expect(next).toMatchObject({ status: 400, code: 'previous_response_not_completed' })
    const [call] = first.output
    if (call?.type !== 'function_call') throw new Error('expected a call')
    const output = { type: 'function_call_output' as const, call_id: call.call_id, output: '30' }
    const second = await openai.responses.create({ ...ask, previous_response_id: first.id, input: [output] })
    const third = await openai.responses.create({ ...ask, previous_response_id: second.id, input: 'Really?' })
    expect(third.output_text).toBe('Yes.')
    expect(provider.requests).toHaveLength(5)
  })

  test('tools that only OpenAI runs are refused by name', async () => {
    const { openai, provider } = await serve()
    const refused = await rejection(openai.responses.create({ ...ask, tools: [{ type: 'web_search' }], input: 'x' }))
    expect(refused).toMatchObject({ status: 400, param: 'tools[0].type', message: expect.stringContaining('web_search') })
    expect(provider.requests).toEqual([])
  })
})
