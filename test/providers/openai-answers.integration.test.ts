import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { ModelResponse } from '../../src/domain/execution/model-call.ts'
import { createOpenAiCompatibleProvider } from '../../src/providers/openai-compatible.ts'
import type { Provider } from '../../src/providers/provider.ts'
import { askOf } from '../support/openai-asks.ts'
import { createVendorServer, SSE_HEADERS, sse, type VendorAnswer, type VendorServer } from '../support/vendor-server.ts'

let server: VendorServer
let provider: Provider

beforeAll(async () => {
  server = await createVendorServer()
  provider = await createOpenAiCompatibleProvider({
    id: 'mine',
    vendor: 'mine',
    apiKey: 'key-123',
    baseUrl: `${server.url}/v1`,
    simulated: false,
  })
})
afterAll(() => server.close())

/** Asks once and says what an application has read by then. */
async function ask(
  answer: VendorAnswer,
  streams: boolean,
  model = 'm',
  by = provider,
): Promise<ModelResponse & { readonly seen: string; readonly thought: string }> {
  server.answer(answer)
  let seen = ''
  let thought = ''
  const response = await by.generate(askOf({ model }), {
    signal: new AbortController().signal,
    ...(streams && {
      onDelta: (text: string) => {
        seen += text
      },
      onReasoning: (text: string) => {
        thought += text
      },
      onVoid: () => {
        seen = ''
      },
    }),
  })
  return { ...response, seen, thought }
}

const streamed = (...events: readonly unknown[]): VendorAnswer => ({
  headers: SSE_HEADERS,
  body: sse(...events, '[DONE]'),
  seed: 7,
})
const choice = (part: Readonly<Record<string, unknown>>, finish_reason: string | null = null, rest = {}) => ({
  model: 'm',
  choices: [{ index: 0, ...part, finish_reason }],
  ...rest,
})

describe('the text of a streamed answer of Chat Completions', () => {
  test.each([
    [
      'a whole message beside every chunk',
      [
        choice({ delta: { content: 'Pa' }, message: { content: 'Pa' } }),
        choice({ delta: { content: 'ris' }, message: { content: 'Paris' } }, 'stop'),
      ],
    ],
    [
      'a whole message beside empty chunks',
      [
        choice({ delta: { content: '' }, message: { content: 'Pa' } }),
        choice({ delta: { content: '' }, message: { content: 'Paris' } }),
        choice({ delta: {}, message: { content: 'Paris' } }, 'stop'),
      ],
    ],
    [
      'a whole message at the end',
      [
        choice({ delta: { content: 'Pa' } }),
        choice({ delta: { content: 'ris' } }),
        choice({ message: { content: 'Paris' } }, 'stop'),
      ],
    ],
    [
      'a whole message at the end that knows more',
      [choice({ delta: { content: 'Pa' } }), choice({ delta: { content: '' }, message: { content: 'Paris' } }, 'stop')],
    ],
    [
      'messages as chunks',
      [
        choice({ message: { content: 'Pa' } }),
        choice({ message: { content: 'ris' } }),
        choice({ message: { content: '' } }, 'stop'),
      ],
    ],
    ['one message', [choice({ message: { content: 'Paris' } }, 'stop')]],
    ['parts', [choice({ delta: { content: [{ type: 'text', text: 'Pa' }, { text: 'ris' }] } }, 'stop')]],
    ['the old form', [choice({ text: 'Pa' }), choice({ text: 'ris' }, 'stop')]],
  ])('the text of a streamed answer is delivered once: %s', async (_, events) => {
    expect(await ask(streamed(...events), true)).toMatchObject({ text: 'Paris', seen: 'Paris' })
  })

  test('repeated chunks are kept', async () => {
    const events = [choice({ delta: { content: 'ha' } }), choice({ delta: { content: 'ha' } }, 'stop')]
    expect(await ask(streamed(...events), true)).toMatchObject({ text: 'haha' })
  })

  test('text before a lone closing tag is void and becomes reasoning', async () => {
    const events = ['Let me see.', '\n</th', 'ink>\n\nRain', '.'].map((content) => choice({ delta: { content } }))
    expect(await ask(streamed(...events, choice({ delta: {} }, 'stop')), true)).toMatchObject({
      text: 'Rain.',
      seen: 'Rain.',
      reasoningText: 'Let me see.\n',
    })
  })

  test('a model that opens its reasoning in the prompt delivers no text that becomes void', async () => {
    const events = ['Let me see.', '</think>Rain'].map((content) => choice({ delta: { content } }))
    expect(await ask(streamed(...events, choice({ delta: {} }, 'stop')), true, 'deepseek-r1:8b')).toMatchObject({
      seen: 'Rain',
      thought: 'Let me see.',
    })
  })
})

test.each([
  [{ content: 'Paris.' }, { content: '' }],
  [{ content: '' }, { content: 'Paris.' }],
  [{ content: 'Paris.' }, undefined],
  [undefined, { content: 'Paris.' }],
])('a whole answer with message %j and delta %j has its text', async (message, delta) => {
  expect(await ask({ body: choice({ message, delta }, 'stop') }, false)).toMatchObject({ text: 'Paris.', finishReason: 'stop' })
})

describe('responses that are not answers', () => {
  test.each(['abort', 'error', 'cancelled', 'network_error', 'ABORT'])(
    'the finish reason "%s" is a retryable failure',
    async (reason) => {
      const message = expect.stringContaining(`it ended with the finish reason "${reason}"`)
      const expected = { code: 'PROVIDER_UNAVAILABLE', retryable: true, message }
      await expect(ask({ body: choice({ message: { content: 'Half' } }, reason) }, false)).rejects.toMatchObject(expected)
      await expect(
        ask(streamed(choice({ delta: { content: 'Half' } }), choice({ delta: {} }, reason)), true),
      ).rejects.toMatchObject(expected)
    },
  )

  test.each([
    [{ object: 'error', message: 'no', type: 'BadRequestError', code: 400 }, 'PROVIDER_REJECTED'],
    [{ error: { message: 'no', code: 429 } }, 'PROVIDER_RATE_LIMITED'],
    [{ message: 'no', code: 401 }, 'PROVIDER_AUTH'],
    [{ base_resp: { status_code: 1008, status_msg: 'insufficient balance' } }, 'PROVIDER_QUOTA_EXHAUSTED'],
  ])('the event %j is an error, whole and streamed', async (event, code) => {
    await expect(ask({ body: event }, false)).rejects.toMatchObject({ code })
    await expect(ask(streamed(event), true)).rejects.toMatchObject({ code })
  })

  const filter = { hate: { filtered: true, severity: 'high' } }
  test.each([
    ['a choice without a message', choice({}, 'content_filter')],
    ['a choice with an empty one', choice({ message: { content: '' }, content_filter_results: filter }, 'stop')],
    [
      'the prompt alone',
      { model: 'm', choices: [], prompt_filter_results: [{ prompt_index: 0, content_filter_results: filter }] },
    ],
    ['the word of Gemini', choice({ message: {} }, 'content_filter: RECITATION')],
  ])('filtered content is reported as filtered, plain and streamed: %s', async (_, body) => {
    expect(await ask({ body }, false)).toMatchObject({ text: '', finishReason: 'content_filter' })
    expect(await ask(streamed(body), true)).toMatchObject({ text: '', finishReason: 'content_filter' })
  })

  test('an answer whose token bound was used by reasoning is reported so', async () => {
    const body = choice({ message: { content: null, reasoning_content: 'hm' } }, 'length')
    expect(await ask({ body }, false)).toMatchObject({ text: '', reasoningText: 'hm', finishReason: 'length' })
  })

  test.each([false, true])('JSON that Groq rejected is used if it is complete (streamed: %s)', async (streams) => {
    const refused = (failed_generation: string) => ({
      status: 400,
      body: { error: { message: 'm', type: 'invalid_request_error', code: 'json_validate_failed', failed_generation } },
    })
    expect(await ask(refused('{"a": 1}'), streams)).toMatchObject({
      text: '{"a": 1}',
      finishReason: 'stop',
      seen: streams ? '{"a": 1}' : '',
      usage: { source: 'unknown' },
    })
    await expect(ask(refused('{"a": [1'), streams)).rejects.toMatchObject({ code: 'PROVIDER_BAD_REPLY', retryable: true })
  })
})

describe('content beside the text', () => {
  test.each([
    ['reasoning_content', { reasoning_content: 'hm' }],
    ['reasoning', { reasoning: 'hm' }],
    ['reasoning_details', { reasoning_details: [{ type: 'reasoning.text', text: 'hm', signature: 'x' }] }],
    ['both of OpenRouter', { reasoning: 'hm', reasoning_details: [{ type: 'reasoning.text', text: 'hm' }] }],
    ['parts of Mistral', { content: [{ type: 'thinking', thinking: [{ type: 'text', text: 'hm' }] }] }],
  ])('reasoning is kept separate: %s', async (_, delta) => {
    const events = [choice({ delta }), choice({ delta: { content: 'Rain' } }, 'stop')]
    expect(await ask(streamed(...events), true)).toMatchObject({ text: 'Rain', seen: 'Rain', reasoningText: 'hm', thought: 'hm' })
  })

  const url = 'https://example.org/a'
  test.each([
    ['citations', { citations: [url, url] }, {}, { kind: 'citation', url }],
    [
      'search results',
      { search_results: [{ title: 'A', url, snippet: 's' }] },
      {},
      { kind: 'search_result', url, title: 'A', text: 's' },
    ],
    [
      'annotations',
      {},
      { annotations: [{ type: 'url_citation', url_citation: { url, title: 'A', start_index: 0, end_index: 4 } }] },
      { kind: 'annotation', url, title: 'A', startIndex: 0, endIndex: 4 },
    ],
    [
      'files',
      {},
      { annotations: [{ type: 'file_citation', file_citation: { file_id: 'f1', quote: 'q' } }] },
      { kind: 'annotation', title: 'f1', text: 'q' },
    ],
  ])('sources are kept once, whole and streamed: %s', async (_, beside, part, source) => {
    const whole = choice({ message: { content: 'Rain', ...part } }, 'stop', beside)
    expect((await ask({ body: whole }, false)).sources).toEqual([source])
    const events = [
      choice({ delta: { content: 'Ra', ...part } }, null, beside),
      choice({ delta: { content: 'in', ...part } }, 'stop', beside),
    ]
    expect((await ask(streamed(...events), true)).sources).toEqual([source])
  })

  test('dropped content is named in one note', async () => {
    const message = { content: 'Rain', audio: { id: 'a' }, tool_calls: [{ id: 't', function: { name: 'f', arguments: '{}' } }] }
    const { notes } = await ask(
      { body: choice({ message, logprobs: { content: [1] }, content_filter_results: { hate: { filtered: false } } }, 'stop') },
      false,
    )
    expect(notes).toEqual(['left out of the answer: log probabilities, content filter results'])
  })

  test('the service tier of the answer is kept', async () => {
    expect(await ask({ body: choice({ message: { content: 'a' } }, 'stop', { service_tier: 'priority' }) }, false)).toMatchObject(
      { serviceTier: 'priority' },
    )
    expect(await ask(streamed(choice({ delta: { content: 'a' } }, 'stop', { service_tier: 'flex' })), true)).toMatchObject({
      serviceTier: 'flex',
    })
  })
})

describe('answers of the Responses API', () => {
  let responses: Provider
  beforeAll(async () => {
    responses = await createOpenAiCompatibleProvider({
      id: 'mine',
      vendor: 'mine',
      apiKey: 'key-123',
      api: 'responses',
      baseUrl: `${server.url}/v1`,
      simulated: false,
    })
  })
  const message = (text: string, phase?: string, annotations: readonly unknown[] = []) => ({
    id: `m-${phase}-${text}`,
    type: 'message',
    ...(phase && { phase }),
    content: [{ type: 'output_text', text, annotations }],
  })
  const wholeOf = (output: readonly unknown[], rest = {}) => ({ status: 'completed', model: 'm', output, ...rest })
  /** `late`: the phase is said only when an item is done. */
  const eventsOf = (output: readonly ReturnType<typeof message>[], late = false) => [
    ...output.flatMap((item, output_index) => [
      ...(late ? [] : [{ type: 'response.output_item.added', output_index, item: { ...item, content: [] } }]),
      { type: 'response.output_text.delta', output_index, item_id: item.id, delta: item.content[0]?.text },
      { type: 'response.output_item.done', output_index, item },
    ]),
    { type: 'response.completed', response: wholeOf(output) },
  ]

  test.each([
    ['before another answer', [message('Looking.', 'commentary'), message('Rain.', 'final_answer')], 'Looking.'],
    ['that says the same', [message('Rain.', 'commentary'), message('Rain.', 'final_answer')], 'Rain.'],
    ['alone', [message('Rain.', 'commentary')], undefined],
    ['that is none', [message('Ra'), message('in.')], undefined],
  ])('commentary %s is kept separate from the answer, plain and streamed', async (_, output, reasoningText) => {
    expect(await ask({ body: wholeOf(output) }, false, 'm', responses)).toMatchObject({ text: 'Rain.' })
    for (const late of [false, true]) {
      const answer = await ask(streamed(...eventsOf(output, late)), true, 'm', responses)
      expect(answer).toMatchObject({ text: 'Rain.', seen: 'Rain.' })
      expect(answer.reasoningText).toBe(reasoningText)
    }
  })

  test('annotations have positions in the joined text, and search results are separate', async () => {
    const annotation = { type: 'url_citation', url: 'https://example.org/a', title: 'A', start_index: 0, end_index: 2 }
    const search = {
      type: 'web_search_call',
      action: { type: 'search', sources: [{ type: 'url', url: 'https://example.org/b' }] },
    }
    const { sources } = await ask(
      { body: wholeOf([search, message('One. '), message('Two.', undefined, [annotation])]) },
      false,
      'm',
      responses,
    )
    expect(sources).toEqual([
      { kind: 'search_result', url: 'https://example.org/b' },
      { kind: 'annotation', url: 'https://example.org/a', title: 'A', startIndex: 5, endIndex: 7 },
    ])
  })

  test('reasoning summaries are delivered as they arrive', async () => {
    const reasoning = { type: 'reasoning', summary: [{ type: 'summary_text', text: 'hm' }] }
    const events = [
      { type: 'response.reasoning_summary_text.delta', delta: 'hm' },
      { type: 'response.completed', response: wholeOf([reasoning, message('Rain.')], { service_tier: 'flex' }) },
    ]
    expect(await ask(streamed(...events), true, 'm', responses)).toMatchObject({
      text: 'Rain.',
      seen: 'Rain.',
      thought: 'hm',
      reasoningText: 'hm',
      serviceTier: 'flex',
    })
  })
})
