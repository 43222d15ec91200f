import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import { chain } from '../support/flows.ts'
import { failure, modelAStep, openServices, type Services, scriptedProvider, USER } from './services.ts'
import { only, registerSdk, type SpanReader } from './spans.ts'

let spans: SpanReader
let services: Services | undefined

beforeAll(() => {
  spans = registerSdk()
})
beforeEach(() => spans.reset())
afterEach(async () => {
  await services?.polyphony.close()
  services = undefined
})
afterAll(() => spans.close())

const CANARIES = {
  prompt: 'canary-prompt-1',
  input: 'canary-input-2',
  system: 'canary-system-3',
  history: 'canary-history-4',
  answer: 'canary-answer-5',
  toolCall: 'canary-tool-6',
  error: 'canary-error-7',
  stop: 'canary-stop-8',
  reasoning: 'canary-reasoning-9',
  metadata: 'canary-metadata-10',
}
const everyCanary = Object.values(CANARIES)

/** A retried call that answers and a second step that fails, with a canary wherever users, models and vendors write. */
async function runWithCanaries(captureContent?: boolean): Promise<void> {
  const replies = [
    Object.assign(failure('PROVIDER_UNAVAILABLE'), { message: `the vendor says ${CANARIES.error}` }),
    {
      text: CANARIES.answer,
      reasoningText: CANARIES.reasoning,
      toolCalls: [{ id: 'tool-1', name: 'look_up', arguments: `{"q":"${CANARIES.toolCall}"}` }],
      notes: [CANARIES.reasoning],
    },
    Object.assign(failure('PROVIDER_REJECTED'), { message: `cannot read ${CANARIES.error}` }),
  ]
  services = await openServices(
    { scripted: scriptedProvider('scripted', replies) },
    captureContent === undefined ? {} : { telemetry: { captureContent } },
  )
  const { conversations, dataSharing } = services.polyphony
  await conversations.addMessage(services.threadId, USER, { role: 'user', content: CANARIES.history })
  await dataSharing.set(USER, 'scripted', { allowConversationHistory: true })
  const definition = {
    ...chain(
      modelAStep('draft', {
        prompt: `${CANARIES.prompt} {{ original }} {{ metadata.word }}`,
        system: CANARIES.system,
        settings: { stopSequences: [CANARIES.stop] },
      }),
      modelAStep('again', { prompt: '{{ previous }}' }),
    ),
    contextPolicy: { shareConversationHistory: true },
  }
  const run = services.run(definition, { input: CANARIES.input, metadata: { word: CANARIES.metadata } })
  await expect(run).rejects.toMatchObject({ code: 'PROVIDER_REJECTED' })
}

test.each([undefined, false])('no text of a user or a model is on a span with captureContent %s', async (captureContent) => {
  await runWithCanaries(captureContent)
  expect(spans.calls()).toHaveLength(2)
  expect(spans.flows()).toHaveLength(1)
  const text = spans.text()
  expect(everyCanary.filter((canary) => text.includes(canary))).toEqual([])
  expect(text).not.toContain(USER)
})

test('spans of calls contain prompts and answers with captureContent, but never error messages', async () => {
  await runWithCanaries(true)
  const [draft, again] = spans.calls()
  const read = (name: string) => JSON.parse(String(draft?.attributes[name]))
  expect(read('gen_ai.system_instructions')).toEqual([{ type: 'text', content: CANARIES.system }])
  expect(read('gen_ai.input.messages')).toEqual([
    // Two messages of the user in a row are one turn.
    {
      role: 'user',
      parts: [{ type: 'text', content: expect.stringContaining(`${CANARIES.history}\n\n${CANARIES.prompt} ${CANARIES.input}`) }],
    },
  ])
  expect(read('gen_ai.output.messages')).toEqual([
    {
      role: 'assistant',
      parts: [
        { type: 'text', content: CANARIES.answer },
        { type: 'tool_call', id: 'tool-1', name: 'look_up', arguments: `{"q":"${CANARIES.toolCall}"}` },
      ],
    },
  ])
  expect(draft?.attributes['gen_ai.request.stop_sequences']).toEqual([CANARIES.stop])
  expect(String(again?.attributes['gen_ai.input.messages'])).toContain(CANARIES.answer)
  expect(again?.attributes).not.toHaveProperty('gen_ai.output.messages')
  expect(spans.text()).not.toContain(CANARIES.error)
  expect(only(spans.flows()).attributes).not.toHaveProperty('gen_ai.input.messages')
})

test('the span of a fallback with other context contains the prompt that the fallback received', async () => {
  const scripted = scriptedProvider('scripted', [failure('PROVIDER_AUTH')])
  const second = scriptedProvider('second', ['fine'])
  services = await openServices({ scripted, second }, { telemetry: { captureContent: true } })
  const { conversations, dataSharing } = services.polyphony
  await conversations.addMessage(services.threadId, USER, { role: 'user', content: CANARIES.history })
  await dataSharing.set(USER, 'scripted', { allowConversationHistory: true })
  await services.run({
    ...chain(modelAStep('draft', { fallbacks: [{ model: 'second/model-b' }] })),
    contextPolicy: { shareConversationHistory: true },
  })
  const call = only(spans.calls())
  expect(call.attributes['polyphony.provider.id']).toBe('second')
  expect(String(call.attributes['gen_ai.input.messages'])).not.toContain(CANARIES.history)
})
