import { BadRequestError } from 'openai'
import { zodResponseFormat } from 'openai/helpers/zod'
import { expect, test } from 'vitest'
import * as z from 'zod'
import type { FlowDefinitionInput } from '../../../src/domain/definition/flow-definition.ts'
import { findMismatch } from '../../../src/server/models/json/find-mismatch.ts'
import { rejection } from '../../support/caught.ts'
import { runServer } from '../running-server.ts'
import { runModelServer, TWO_STEPS, USER } from './model-server.ts'

const QUESTION = [{ role: 'user' as const, content: 'Why?' }]
const ANSWER_SCHEMA = { type: 'object', properties: { answer: { type: 'string' } }, required: ['answer'] }
const TYPED: FlowDefinitionInput = {
  name: 'typed',
  type: 'sequential',
  steps: [
    { id: 'draft', model: 'scripted/m', action: 'generate', prompt: 'original' },
    { id: 'answer', model: 'scripted/m', action: 'refine', prompt: '{{ steps.draft.output }}', outputSchema: ANSWER_SCHEMA },
  ],
}
const jsonSchema = (schema: Record<string, unknown>) => ({
  type: 'json_schema' as const,
  json_schema: { name: 'reply', strict: true, schema },
})

test.each([false, true])(
  'a requested schema that the last outputSchema meets is answered with JSON only (streamed: %s)',
  async (stream) => {
    const { openai, save } = await runModelServer((_, index) => (index % 2 === 0 ? 'a draft' : 'Here: {"answer":"42"}'))
    await save(TYPED)
    const formats = [
      { type: 'json_object' as const },
      jsonSchema(ANSWER_SCHEMA),
      jsonSchema({ ...ANSWER_SCHEMA, additionalProperties: false, title: 'Reply' }),
    ]
    for (const response_format of formats) {
      const body = { model: 'flow/typed', messages: QUESTION, response_format }
      const content = stream
        ? await openai.chat.completions.stream(body).finalContent()
        : (await openai.chat.completions.create(body)).choices[0]?.message.content
      expect(JSON.parse(content ?? '')).toEqual({ answer: '42' })
    }
  },
)

test('a JSON response states its format, even when it is read again and continued', async () => {
  const { openai, save } = await runModelServer((_, index) => (index % 2 === 0 ? 'a draft' : '```json\n{"answer":"42"}\n```'))
  await save(TYPED)
  const format = { type: 'json_schema' as const, name: 'reply', schema: ANSWER_SCHEMA }
  const made = await openai.responses.create({ model: 'flow/typed', input: 'Why?', text: { format } })
  expect(JSON.parse(made.output_text)).toEqual({ answer: '42' })
  expect(made.text).toEqual({ format })
  const read = await openai.responses.retrieve(made.id)
  expect([read.output_text, read.text]).toEqual([made.output_text, made.text])
  const next = await openai.responses.create({ model: 'flow/typed', input: 'And?', previous_response_id: made.id })
  expect(next.text).toEqual({ format: { type: 'text' } })
})

test('a requested schema that the flow does not meet is refused with the mismatch, before anything is paid for', async () => {
  const { openai, save, provider } = await runModelServer(() => 'the answer')
  await save(TYPED)
  await save(TWO_STEPS)
  const number = { type: 'object', properties: { answer: { type: 'number' } }, required: ['answer'] }
  for (const [model, response_format, message] of [
    ['flow/two steps', { type: 'json_object' as const }, 'outputSchema at step "answer"'],
    ['flow/typed', jsonSchema(number), 'answer: expected number, found string'],
    ['flow/typed', jsonSchema({ ...ANSWER_SCHEMA, required: ['answer', 'why'] }), 'expected a property "why"'],
    ['flow/typed', jsonSchema({ type: 'array', items: {} }), 'expected array, found object'],
  ] as const) {
    const error = await rejection(openai.chat.completions.create({ model, messages: QUESTION, response_format }))
    expect(error).toBeInstanceOf(BadRequestError)
    expect(error).toMatchObject({ status: 400, param: 'response_format', message: expect.stringContaining(message) })
  }
  expect(provider.requests).toEqual([])
})

test.each([
  [{}, { type: 'string' }, 'any type'],
  [{ type: 'integer' }, { type: 'number' }, undefined],
  [{ type: 'number' }, { type: 'integer' }, 'expected integer'],
  [{ enum: ['a', 'b'] }, { type: 'string', enum: ['a', 'b', 'c'] }, undefined],
  [{ type: 'string' }, { type: 'string', enum: ['a'] }, 'expected one of'],
  [{ const: 1 }, { type: 'string' }, 'found number'],
  [{ anyOf: [{ type: 'string' }, { type: 'null' }] }, { type: ['string', 'null'] }, undefined],
  [{ type: 'string' }, { anyOf: [{ type: 'number' }, { type: 'string' }] }, undefined],
  [{ type: ['string', 'null'] }, { type: 'string' }, 'found string or null'],
  [
    { $ref: '#/$defs/a', $defs: { a: { type: 'string' } } },
    { $ref: '#/definitions/b', definitions: { b: { type: 'string' } } },
    undefined,
  ],
  [{ type: 'array', items: { type: 'string' } }, { type: 'array', items: { type: 'number' } }, '[]: expected number'],
  [{ type: 'object', properties: { a: {} } }, { type: 'object', properties: {}, additionalProperties: false }, 'no property "a"'],
  [{ type: 'object', properties: { a: { type: 'string' } } }, { type: 'object' }, undefined],
  [{ type: 'object', properties: {} }, { type: 'object', properties: { a: { type: 'string' } } }, undefined],
])('values of schema %j for the requested schema %j: %s', (given, wanted, misfit) => {
  const found = findMismatch(given, wanted)
  if (misfit === undefined) expect(found).toBeUndefined()
  else expect(found).toContain(misfit)
})

const tool = { type: 'function' as const, function: { name: 'now', parameters: {} } }

test('tools that may not be called are ignored', async () => {
  const { openai, save, provider } = await runModelServer(() => 'the answer')
  await save(TWO_STEPS)
  const ask = (more: object) => openai.chat.completions.create({ model: 'flow/two steps', messages: QUESTION, ...more })
  for (const more of [
    { tools: [tool], tool_choice: 'none' },
    { tools: [], tool_choice: 'auto', parallel_tool_calls: true },
    { functions: [{ name: 'now' }], function_call: 'none' },
    { tools: null, response_format: null, stream_options: null, metadata: null, n: null, logprobs: false, seed: 1 },
  ]) {
    expect((await ask(more)).choices[0]?.message.content).toBe('the answer')
  }
  const response = await openai.responses.create({
    model: 'flow/two steps',
    input: 'Why?',
    tools: [{ type: 'function', name: 'now', parameters: {}, strict: false }],
    tool_choice: 'none',
  })
  expect(response.output_text).toBe('the answer')
  expect(provider.requests.every(({ tools }) => tools === undefined)).toBe(true)
  expect(await rejection(ask({ functions: [{ name: 'now' }] }))).toMatchObject({ status: 400, param: 'functions' })
})

test('a server with ignoreUnsupported ignores fields that flows do not support', async () => {
  const { send } = await runServer({ server: { models: { ignoreUnsupported: true } } })
  const ask = (more: object) =>
    send('POST', '/v1/chat/completions', { body: { model: 'flow/refinement', messages: QUESTION, ...more } })
  for (const more of [
    { tools: [tool], tool_choice: 'auto' },
    { response_format: { type: 'json_object' } },
    { web_search_options: {} },
  ]) {
    expect((await ask(more)).status).toBe(200)
  }
  expect((await ask({ n: 2 })).status).toBe(400)
  const response = { model: 'flow/refinement', input: 'Why?', tools: [{ type: 'web_search' }] }
  expect((await send('POST', '/v1/responses', { body: response })).status).toBe(200)
  expect((await send('POST', '/v1/responses', { body: { ...response, conversation: 'c' } })).status).toBe(400)
})

test('instructions of a request reach every model of its flow, once, and no later request inherits them', async () => {
  const { openai, save, provider, polyphony } = await runModelServer(() => 'the answer')
  const [draft, answer] = TWO_STEPS.steps
  if (!draft || !answer) throw new Error('expected two steps')
  await save({ ...TWO_STEPS, name: 'plain', contextPolicy: {}, steps: [draft, { ...answer, system: 'Be kind.' }] })
  await save(TWO_STEPS)
  await polyphony.dataSharing.set(USER, 'scripted', { allowConversationHistory: true, allowCrossProviderContext: true })
  for (const model of ['flow/plain', 'flow/two steps']) {
    const systems: (string | undefined)[][] = []
    let previous: string | undefined
    for (const instructions of ['Be brief.', 'Be long.', undefined]) {
      const before = provider.requests.length
      const { id } = await openai.responses.create({ model, input: 'Why?', instructions, previous_response_id: previous })
      previous = id
      systems.push(provider.requests.slice(before).map(({ system }) => system))
    }
    const own = model === 'flow/plain' ? 'Be kind.' : undefined
    const both = (text: string) => (own === undefined ? text : `${text}\n\n${own}`)
    expect(systems).toEqual([
      ['Be brief.', both('Be brief.')],
      ['Be long.', both('Be long.')],
      [undefined, own],
    ])
  }
})

test('messages without text are left out, and the last answer of the assistant stays last', async () => {
  const { openai, save, provider, polyphony } = await runModelServer(() => 'the answer')
  await save(TWO_STEPS)
  await polyphony.dataSharing.set(USER, 'scripted', { allowConversationHistory: true, allowCrossProviderContext: true })
  await openai.chat.completions.create({
    model: 'flow/two steps',
    messages: [
      { role: 'developer', content: 'Be brief.' },
      { role: 'user', content: 'Hello' },
      { role: 'assistant', content: '' },
      { role: 'assistant', content: [{ type: 'refusal', refusal: 'I will not.' }] },
      { role: 'user', content: 'Why?' },
      { role: 'assistant', content: 'Because' },
    ],
  })
  const [first] = provider.requests
  expect(first?.system).toBe('Be brief.')
  const contents = first?.messages.map(({ role, content }) => `${role}: ${content}`) ?? []
  expect(contents.slice(0, 4)).toEqual(['user: Hello', 'assistant: I will not.', 'user: Why?', 'assistant: Because'])
})

test('the parser of OpenAI reads the object of a flow', async () => {
  const { openai, save, provider } = await runModelServer((_, index) => (index % 2 === 0 ? 'a draft' : 'Here: {"answer":"42"}'))
  await save(TYPED)
  const response_format = zodResponseFormat(z.object({ answer: z.string() }), 'reply')
  const { choices } = await openai.chat.completions.parse({ model: 'flow/typed', messages: QUESTION, response_format })
  expect(choices[0]?.message.parsed).toEqual({ answer: '42' })
  expect(provider.requests).toHaveLength(2)
})
