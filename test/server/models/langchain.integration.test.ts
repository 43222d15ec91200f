import { AIMessage, HumanMessage, SystemMessage } from '@langchain/core/messages'
import { ChatOpenAI } from '@langchain/openai'
import { expect, test } from 'vitest'
import { rejection } from '../../support/caught.ts'
import { runModelServer, TWO_STEPS, USAGE, USER } from './model-server.ts'

async function chat(more: Partial<ConstructorParameters<typeof ChatOpenAI>[0]> & object = {}) {
  const server = await runModelServer(() => ({ text: 'one two', chunks: ['one ', 'two'], usage: USAGE }))
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

test('LangChain with tools is refused before anything is paid for', async () => {
  const { model, provider } = await chat()
  const withTools = model.bindTools([
    { type: 'function', function: { name: 'f', parameters: { type: 'object', properties: {} } } },
  ])
  expect(await rejection(withTools.invoke('hi'))).toMatchObject({ status: 400, code: 'unsupported_parameter', param: 'tools' })
  expect(provider.requests).toHaveLength(0)
})
