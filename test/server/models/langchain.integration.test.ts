import { AIMessage, type BaseMessage, HumanMessage, SystemMessage, ToolMessage } from '@langchain/core/messages'
import { ChatOpenAI } from '@langchain/openai'
import { expect, test } from 'vitest'
import type { ScriptedReplies } from '../../../src/providers/scripted.ts'
import { calling, toolAnswers } from '../../support/tool-world.ts'
import { runModelServer, TWO_STEPS, USAGE, USER } from './model-server.ts'

async function chat(more: Partial<ConstructorParameters<typeof ChatOpenAI>[0]> & object = {}, replies?: ScriptedReplies) {
  const server = await runModelServer(replies ?? (() => ({ text: 'one two', chunks: ['one ', 'two'], usage: USAGE })))
  await server.save(TWO_STEPS)
  const model = new ChatOpenAI({
    model: 'flow/two steps',
    apiKey: await server.keyOf(USER),
    configuration: { baseURL: `${server.url}/v1` },
    maxRetries: 0,
    ...more,
  })
  return { ...server, model }
}
const USAGE_METADATA = {
  input_tokens: 20,
  output_tokens: 10,
  total_tokens: 30,
  input_token_details: { cache_read: 8 },
  output_token_details: { reasoning: 4 },
}

test.each([false, true])('LangChain calls a flow as a model, with the Responses API: %s', async (useResponsesApi) => {
  const { model, polyphony } = await chat({ useResponsesApi })
  const answer = await model.invoke([
    new SystemMessage('Be brief.'),
    new HumanMessage('My name is Ada.'),
    new AIMessage('Hello Ada.'),
    new HumanMessage('What is my name?'),
  ])
  expect(answer.text).toBe('one two')
  expect(answer.usage_metadata).toMatchObject(USAGE_METADATA)
  const [thread] = await polyphony.conversations.listThreads(USER)
  const messages = await polyphony.conversations.getMessages(thread?.id ?? '', USER)
  expect(messages.map(({ role, content }) => `${role}: ${content}`)).toEqual([
    'system: Be brief.',
    'user: My name is Ada.',
    'assistant: Hello Ada.',
    'user: What is my name?',
    'assistant: one two',
  ])
})

test.each([false, true])(
  'LangChain streams a flow in chunks with its usage, with the Responses API: %s',
  async (useResponsesApi) => {
    const { model } = await chat({ useResponsesApi })
    let whole: Awaited<ReturnType<typeof model.invoke>> | undefined
    const pieces: string[] = []
    for await (const chunk of await model.stream('Why is the sky blue?')) {
      if (chunk.text !== '') pieces.push(chunk.text)
      whole = whole?.concat(chunk) ?? chunk
    }
    expect(pieces).toEqual(['one ', 'two'])
    expect(whole?.usage_metadata).toMatchObject(USAGE_METADATA)
  },
)

test.each([false, true])('LangChain gives a flow the results of tools, with the Responses API: %s', async (useResponsesApi) => {
  const replies = ['a draft', calling(['weather', { city: 'Rome' }]), calling(['weather', { city: 'Oslo' }]), 'Rome is warm.']
  const { model, provider } = await chat({ useResponsesApi }, replies)
  const parameters = { type: 'object', properties: { city: { type: 'string' } } }
  const withTools = model.bindTools([{ type: 'function', function: { name: 'weather', parameters } }])
  const messages: BaseMessage[] = [new HumanMessage('Where is it warm?')]
  const ids = new Set<string | undefined>()
  for (const city of ['Rome', 'Oslo']) {
    const answer = await withTools.invoke(messages)
    const [call] = answer.tool_calls ?? []
    expect(call).toMatchObject({ name: 'weather', args: { city } })
    messages.push(answer, new ToolMessage({ tool_call_id: call?.id ?? '', content: `weather of ${city}` }))
    ids.add(answer.id)
  }
  const last = await withTools.invoke(messages)
  expect(last.text).toBe('Rome is warm.')
  // LangChain replaces a message by one with the same id.
  expect(ids.add(last.id).size).toBe(3)
  expect(provider.requests.slice(2).map(toolAnswers)).toEqual([['weather of Rome'], ['weather of Oslo']])
})

test.each([false, true])(
  'LangChain gets the object that a flow answers with, with the Responses API: %s',
  async (useResponsesApi) => {
    const schema = { type: 'object', properties: { answer: { type: 'string' } }, required: ['answer'] }
    const server = await runModelServer(() => 'Here: {"answer":"42"}')
    const step = { id: 'answer', model: 'scripted/m', action: 'generate', prompt: 'original', outputSchema: schema } as const
    await server.save({ name: 'typed', type: 'sequential', steps: [step] })
    const model = new ChatOpenAI({
      model: 'flow/typed',
      apiKey: await server.keyOf(USER),
      configuration: { baseURL: `${server.url}/v1` },
      maxRetries: 0,
      useResponsesApi,
    })
    expect(await model.withStructuredOutput(schema, { name: 'reply' }).invoke('Why?')).toEqual({ answer: '42' })
    const calls = await runModelServer([calling(['reply', { answer: '43' }])])
    await calls.save({ name: 'typed', type: 'sequential', steps: [{ ...step, outputSchema: undefined }] })
    const byCall = new ChatOpenAI({
      model: 'flow/typed',
      apiKey: await calls.keyOf(USER),
      configuration: { baseURL: `${calls.url}/v1` },
      useResponsesApi,
    }).withStructuredOutput(schema, { name: 'reply', method: 'functionCalling' })
    expect(await byCall.invoke('Why?')).toEqual({ answer: '43' })
  },
)
