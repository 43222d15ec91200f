import type OpenAI from 'openai'
import { expect, test, vi } from 'vitest'
import type { FlowDefinitionInput } from '../../../src/domain/definition/flow-definition.ts'
import { createScriptedProvider, type ScriptedReplies } from '../../../src/providers/scripted.ts'
import { rejection } from '../../support/caught.ts'
import { calling, createToolProvider, lookUp, toolAnswers } from '../../support/tool-world.ts'
import { type ModelServer, runModelServer, TWO_STEPS, USER } from './model-server.ts'

type Message = OpenAI.ChatCompletionMessageParam
const QUESTION: Message = { role: 'user', content: 'Is it warm in Rome?' }
const WEATHER = { name: 'weather', parameters: { type: 'object', properties: { city: { type: 'string' } } } }
const tools = [{ type: 'function' as const, function: WEATHER }]
const ROME = calling(['weather', { city: 'Rome' }])
const [DRAFT, ANSWER] = TWO_STEPS.steps
const withAnswer = (fields: Partial<FlowDefinitionInput['steps'][number]>): FlowDefinitionInput => ({
  ...TWO_STEPS,
  steps: [DRAFT, { ...ANSWER, ...fields }].filter((step) => step !== undefined) as FlowDefinitionInput['steps'],
})

/** A flow that has called tools of its client. */
async function paused(server: ModelServer, definition: FlowDefinitionInput = TWO_STEPS) {
  await server.save(definition)
  const { openai } = server
  const model = `flow/${definition.name}`
  const first = await openai.chat.completions.create({ model, messages: [QUESTION], tools })
  const message = first.choices[0]?.message
  const ids = (message?.tool_calls ?? []).map(({ id }) => id)
  if (!message || ids.length === 0) throw new Error('expected a message with calls')
  const body = (results: readonly (string | object[])[]) => ({
    model,
    messages: [
      QUESTION,
      message,
      ...results.map((content, index) => ({ role: 'tool', tool_call_id: ids[index], content }) as Message),
    ],
  })
  const answer = (results: readonly (string | object[])[], options?: OpenAI.RequestOptions) =>
    openai.chat.completions.create(body(results), options)
  const answerWith = (results: readonly string[], fields: Partial<OpenAI.ChatCompletionCreateParamsNonStreaming>) =>
    openai.chat.completions.create({ ...body(results), ...fields })
  return { answer, answerWith, flowId: first.id.replace('chatcmpl-', '') }
}

test('a result that is too long is refused by name, before another one is given', async () => {
  const two = calling(['weather', { city: 'Rome' }], ['weather', { city: 'Oslo' }])
  const server = await runModelServer(['a draft', two, 'done'])
  const { answer } = await paused(server)
  const refused = await rejection(answer(['warm', 'x'.repeat(1_000_000)]))
  expect(refused).toMatchObject({ status: 400, param: 'messages[3]', message: expect.stringContaining('found 1000002') })
  await answer(['hot', 'cold'])
  expect(server.provider.requests.slice(2).map(toolAnswers)).toEqual([['hot', 'cold']])
})

test('JSON that the flow cannot answer with is refused with the results, too, and changes nothing', async () => {
  const server = await runModelServer(['a draft', ROME, 'done'])
  const { answer, answerWith } = await paused(server)
  const refused = await rejection(answerWith(['30'], { response_format: { type: 'json_object' } }))
  expect(refused).toMatchObject({ status: 400, param: 'response_format' })
  expect(server.provider.requests).toHaveLength(2)
  expect((await answer(['30'])).choices[0]?.message.content).toBe('done')
})

test('a file in a result is refused, not left out', async () => {
  const { answer } = await paused(await runModelServer(['a draft', ROME, 'done']))
  const image = { type: 'image_url', image_url: { url: 'data:image/png;base64,AAAA' } }
  expect(await rejection(answer([[{ type: 'text', text: '30' }, image]]))).toMatchObject({
    status: 400,
    param: 'messages[2].content[1]',
  })
  expect((await answer([[{ type: 'text', text: '30' }]])).choices[0]?.message.content).toBe('done')
})

test('the results sent again have the answer once a decision about another tool has ended its pause', async () => {
  const shop = createToolProvider('shop', { price: { ...lookUp(), approval: true } })
  const replies: ScriptedReplies = ['a draft', ROME, calling(['price', { sku: 'pen' }]), 'done']
  const server = await runModelServer([], undefined, { providers: { scripted: createScriptedProvider({ replies }), shop } })
  const { orchestrator, dataSharing } = server.polyphony
  for (const provider of ['shop', 'scripted']) await dataSharing.set(USER, provider, { allowCrossProviderContext: true })
  const { answer, flowId } = await paused(server, withAnswer({ tools: ['shop/price'] }))
  expect(await rejection(answer(['30']))).toMatchObject({ status: 409, code: 'flow_paused' })
  expect(await rejection(answer(['30']))).toMatchObject({ status: 409, code: 'flow_paused' })
  const [wait] = await orchestrator.listWaiting(USER, { flowId })
  await orchestrator.signal(flowId, USER, wait?.path ?? '', { approved: true })
  await vi.waitFor(async () => expect((await orchestrator.getFlowStatus(flowId)).status).toBe('COMPLETED'))
  expect((await answer(['30'])).choices[0]?.message.content).toBe('done')
})

test('of two requests with the same results, one may leave: the flow ends with the last one', async () => {
  const server = await runModelServer(['a draft', ROME, { text: '', hang: true }])
  const { answer, flowId } = await paused(server)
  const { orchestrator } = server.polyphony
  const streamed = vi.spyOn(orchestrator, 'streamFlow')
  const cancelled = vi.spyOn(orchestrator, 'cancelFlow')
  const leaving = [new AbortController(), new AbortController()]
  const left = leaving.map(({ signal }) => rejection(answer(['30'], { signal })))
  await vi.waitFor(() => expect(streamed).toHaveBeenCalledTimes(2))
  const [first, second] = streamed.mock.calls.map(([, , options]) => options?.signal)
  leaving[0]?.abort()
  await left[0]
  await vi.waitFor(() => expect([first?.aborted, second?.aborted]).toContain(true))
  expect(cancelled).not.toHaveBeenCalled()
  expect((await orchestrator.getFlowStatus(flowId)).status).toBe('RUNNING')
  leaving[1]?.abort()
  await left[1]
  await vi.waitFor(async () => expect((await orchestrator.getFlowStatus(flowId)).status).toBe('CANCELLED'))
  expect(cancelled).toHaveBeenCalledTimes(1)
})

test('a flow that its user named "… (tools)" is listed and keeps its definition', async () => {
  const name = 'mine (tools)'
  const server = await runModelServer(['a draft', ROME, 'a draft', 'plain'])
  await paused(server, { ...TWO_STEPS, name })
  const { data: models } = await server.openai.models.list()
  expect(models.map(({ id }) => id).filter((id) => id.includes('mine'))).toEqual([`flow/${name}`])
  await server.openai.chat.completions.create({ model: `flow/${name}`, messages: [QUESTION] })
  expect(server.provider.requests.at(-1)?.tools).toBeUndefined()
})

test('tool_choice auto replaces the choice of the step, and more than 128 tools are refused with the bound', async () => {
  const server = await runModelServer(['a draft', 'done'])
  await server.save({
    ...withAnswer({ tools: ['caller/own'], toolChoice: 'required' }),
    callerTools: [{ name: 'own' }],
  })
  const common = { model: `flow/${TWO_STEPS.name}`, messages: [QUESTION] }
  await server.openai.chat.completions.create({ ...common, tools, tool_choice: 'auto' })
  expect(server.provider.requests[1]).toMatchObject({ tools: [{ name: 'own' }, { name: 'weather' }] })
  expect(server.provider.requests[1]?.toolChoice).toBeUndefined()
  const many = Array.from({ length: 129 }, (_, index) => ({ type: 'function' as const, function: { name: `t${index}` } }))
  const refused = await rejection(server.openai.chat.completions.create({ ...common, tools: many }))
  expect(refused).toMatchObject({ status: 400, param: 'tools', message: expect.stringContaining('at most 128') })
})

test('a response after more calls than its flow has made is not found', async () => {
  const server = await runModelServer(['a draft', ROME, 'done'])
  const { openai } = server
  await server.save(TWO_STEPS)
  const ask = { model: `flow/${TWO_STEPS.name}`, tools: [{ type: 'function' as const, strict: null, ...WEATHER }] }
  const first = await openai.responses.create({ ...ask, input: 'Warm?' })
  const [call] = first.output
  if (call?.type !== 'function_call') throw new Error('expected a call')
  const output = { type: 'function_call_output' as const, call_id: call.call_id, output: '30' }
  const second = await openai.responses.create({ ...ask, input: [output] })
  expect(second.id).toBe(`${first.id}_1`)
  expect((await openai.responses.retrieve(second.id)).output_text).toBe('done')
  for (const end of ['_2', '_01', '_0']) {
    expect(await rejection(openai.responses.retrieve(first.id + end))).toMatchObject({ status: 404 })
  }
})
