import { expect, test } from 'vitest'
import type { FlowDefinitionInput } from '../../../src/domain/definition/flow-definition.ts'
import { OrchestratorError } from '../../../src/errors/orchestrator-error.ts'
import { rejection } from '../../support/caught.ts'
import { eventsOf } from '../running-server.ts'
import { type ModelServer, runModelServer, USER } from './model-server.ts'

const QUESTION = [{ role: 'user' as const, content: 'Why is the sky blue?' }]
const step = { model: 'scripted/m', action: 'generate' as const, prompt: 'original' }

/** What a streamed request got, as it crossed the wire. */
async function streamed({ url, keyOf }: ModelServer, path: string, body: object): Promise<string> {
  const answer = await fetch(`${url}${path}`, {
    method: 'POST',
    headers: { authorization: `Bearer ${await keyOf(USER)}`, 'content-type': 'application/json' },
    body: JSON.stringify({ ...body, stream: true }),
  })
  return answer.text()
}

const OPTIONAL: FlowDefinitionInput = {
  name: 'ends',
  type: 'sequential',
  steps: [
    { id: 'a', ...step, optional: true },
    { id: 'b', ...step, optional: true },
  ],
}
const BRANCHES: FlowDefinitionInput = {
  name: 'ends',
  type: 'parallel',
  steps: [
    { id: 'a', ...step },
    { id: 'b', ...step },
  ],
}

test.each([
  ['optional steps', OPTIONAL],
  ['branches of which each may fail', { ...BRANCHES, parallel: { onFailure: 'continue' as const } }],
])('a flow of %s without a successful step is an error in every API, never an answer', async (_, definition) => {
  const server = await runModelServer(() => new OrchestratorError('PROVIDER_REJECTED', 'no'))
  await server.save(definition)
  const chat = { model: 'flow/ends', messages: QUESTION }
  const response = { model: 'flow/ends', input: 'hi' }
  for (const call of [server.openai.chat.completions.create(chat), server.openai.responses.create(response)]) {
    expect(await rejection(call)).toMatchObject({ status: expect.any(Number), code: expect.any(String) })
  }
  const chunks = await streamed(server, '/v1/chat/completions', chat)
  expect(chunks).toContain('"error":{"message"')
  expect(chunks).not.toMatch(/"finish_reason":"|\[DONE\]/)
  const last = await server.openai.responses.stream(response).finalResponse()
  expect(last).toMatchObject({ status: 'failed', output: [], error: { code: expect.any(String), message: expect.any(String) } })
  expect(await server.openai.responses.retrieve(last.id)).toMatchObject({ status: 'failed', output: [] })
})

test.each([
  ['length', 'length', 'max_output_tokens'],
  ['content_filter', 'content_filter', 'content_filter'],
] as const)('an answer joined from branches reports that one of them ended by "%s"', async (finishReason, expected, reason) => {
  const server = await runModelServer((_, index) =>
    index % 2 === 0 ? { text: 'the first hal', finishReason } : 'the second half',
  )
  await server.save(BRANCHES)
  const chat = { model: 'flow/ends', messages: QUESTION }
  const whole = await server.openai.chat.completions.create(chat)
  expect(whole.choices[0]).toMatchObject({
    finish_reason: expected,
    message: { content: expect.stringContaining('the first hal') },
  })
  const final = await server.openai.chat.completions.stream(chat).finalChatCompletion()
  expect(final.choices[0]).toMatchObject({ finish_reason: expected, message: { content: whole.choices[0]?.message.content } })
  const incomplete = { status: 'incomplete', incomplete_details: { reason } }
  expect(await server.openai.responses.create({ model: 'flow/ends', input: 'hi' })).toMatchObject(incomplete)
  const events = eventsOf(await streamed(server, '/v1/responses', { model: 'flow/ends', input: 'hi' }))
  expect(events.at(-1)).toMatchObject({ event: 'response.incomplete', data: { response: incomplete } })
})
