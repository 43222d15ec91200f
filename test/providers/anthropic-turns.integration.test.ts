import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { ModelRequest } from '../../src/domain/execution/model-call.ts'
import { createAnthropicProvider } from '../../src/providers/anthropic/anthropic.ts'
import type { GenerateOptions, Provider } from '../../src/providers/provider.ts'
import { createVendorServer, SSE_HEADERS, type VendorServer } from '../support/vendor-server.ts'

type Block = Readonly<Record<string, unknown>>

const citation = { type: 'web_search_result_location', url: 'https://a.example/1', cited_text: 'snow' }
/** A turn with all kinds of blocks, as a plain answer holds them. */
const BLOCKS: readonly Block[] = [
  { type: 'thinking', thinking: 'First, search.', signature: 'c2lnbmF0dXJl' },
  { type: 'redacted_thinking', data: 'ZW5jcnlwdGVk' },
  { type: 'text', text: 'Searching… ', citations: null },
  { type: 'server_tool_use', id: 'srv_1', name: 'web_search', input: { query: 'weather Oslo' } },
  {
    type: 'web_search_tool_result',
    tool_use_id: 'srv_1',
    content: [{ type: 'web_search_result', url: 'https://a.example/1', title: 'Oslo', encrypted_content: 'x', page_age: null }],
  },
  { type: 'text', text: 'It snows.', citations: [citation] },
  { type: 'thinking', thinking: 'Now ask.', signature: 'bW9yZQ==' },
  { type: 'tool_use', id: 'toolu_1', name: 'weather', input: { city: 'Oslo', days: [1, 2] }, caller: { type: 'direct' } },
  { type: 'tool_use', id: 'toolu_2', name: 'now', input: {} },
]
/** JSON as a model writes it, with white space. */
const ARGUMENTS = '{"city": "Oslo", "days": [1, 2]}'

const message = (content: readonly Block[], stop_reason: string | null, usage = {}) => ({
  id: 'msg_1',
  type: 'message',
  role: 'assistant',
  model: 'answering-model',
  content,
  stop_reason,
  usage: { input_tokens: 10, output_tokens: 5, ...usage },
})

/** The events of one block, in pieces of three characters. */
function eventsOf(block: Block, index: number): readonly Block[] {
  const pieces = (text: string) => text.match(/.{1,3}/gs) ?? []
  const delta = (content: Block) => ({ type: 'content_block_delta', index, delta: content })
  const begin = (content_block: Block) => ({ type: 'content_block_start', index, content_block })
  const end = { type: 'content_block_stop', index }
  if (block.type === 'text') {
    const { citations } = block
    const cited = Array.isArray(citations) ? citations : []
    return [
      begin({ ...block, text: '', citations: cited.length > 0 ? [] : null }),
      ...cited.map((found) => delta({ type: 'citations_delta', citation: found })),
      ...pieces(String(block.text)).map((text) => delta({ type: 'text_delta', text })),
      end,
    ]
  }
  if (block.type === 'thinking') {
    return [
      begin({ ...block, thinking: '', signature: '' }),
      ...pieces(String(block.thinking)).map((thinking) => delta({ type: 'thinking_delta', thinking })),
      delta({ type: 'signature_delta', signature: block.signature }),
      end,
    ]
  }
  if (block.type === 'tool_use' || block.type === 'server_tool_use') {
    const json = block.id === 'toolu_1' ? ARGUMENTS : block.id === 'toolu_2' ? '' : JSON.stringify(block.input)
    return [
      begin({ ...block, input: {} }),
      ...pieces(json).map((partial_json) => delta({ type: 'input_json_delta', partial_json })),
      end,
    ]
  }
  return [begin(block), end]
}

const stream = (content: readonly Block[], stop_reason: string) => ({
  headers: SSE_HEADERS,
  body: [
    { type: 'message_start', message: message([], null) },
    ...content.flatMap(eventsOf),
    { type: 'message_delta', delta: { stop_reason }, usage: { output_tokens: 5 } },
    { type: 'message_stop' },
  ]
    .map((event) => `event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`)
    .join(''),
})

describe('turns of Anthropic', () => {
  let server: VendorServer
  let provider: Provider
  beforeAll(async () => {
    server = await createVendorServer()
    provider = await createAnthropicProvider({ id: 'claude', vendor: 'anthropic', baseUrl: server.url, simulated: false })
  })
  afterAll(() => server.close())

  const request: ModelRequest = {
    model: 'claude-opus-4-6',
    messages: [{ role: 'user', content: 'weather?' }],
    settings: { maxTokens: 100 },
    tools: [{ name: 'weather', parameters: { type: 'object' } }],
  }
  const generate = (options: Partial<GenerateOptions> = {}) =>
    provider.generate(request, { signal: new AbortController().signal, ...options })

  test('a plain turn has its calls, its sources and its blocks', async () => {
    server.answer({ body: message(BLOCKS, 'tool_use') })
    const answer = await generate()
    expect(answer).toMatchObject({
      text: 'Searching… It snows.',
      reasoningText: 'First, search.Now ask.',
      finishReason: 'tool_calls',
      toolCalls: [
        { id: 'toolu_1', name: 'weather', arguments: '{"city":"Oslo","days":[1,2]}' },
        { id: 'toolu_2', name: 'now', arguments: '{}' },
      ],
      sources: [{ kind: 'search_result' }, { kind: 'citation', startIndex: 11, endIndex: 20 }],
      vendorTurn: { provider: 'claude', model: 'claude-opus-4-6', blocks: BLOCKS },
    })
    expect(answer.isPaused).toBeUndefined()
  })

  test.each([undefined, 1, 2, 3])('a streamed turn, cut by seed %s, has the same blocks', async (seed) => {
    server.answer({ ...stream(BLOCKS, 'tool_use'), ...(seed !== undefined && { seed }) })
    const thoughts: string[] = []
    const answer = await generate({ onDelta: () => undefined, onReasoning: (text) => thoughts.push(text) })
    expect(answer.vendorTurn?.blocks).toEqual(BLOCKS)
    expect(thoughts.join('')).toBe('First, search.Now ask.')
    expect(answer.toolCalls?.[0]).toEqual({ id: 'toolu_1', name: 'weather', arguments: ARGUMENTS })
  })

  test('a received turn is sent back byte for byte', async () => {
    server.answer(stream(BLOCKS, 'tool_use'), { body: message([{ type: 'text', text: 'done' }], 'end_turn') })
    const { text, toolCalls = [], vendorTurn } = await generate({ onDelta: () => undefined })
    await provider.generate(
      {
        ...request,
        messages: [
          ...request.messages,
          { role: 'assistant', content: text, toolCalls, vendorTurn },
          ...toolCalls.map(({ id = '', name }) => ({ role: 'tool', toolCallId: id, toolName: name, content: 'snow' }) as const),
        ],
      },
      { signal: new AbortController().signal },
    )
    const sent: unknown = server.requests.at(-1)?.body
    expect(sent).toMatchObject({
      messages: [
        {},
        { role: 'assistant', content: BLOCKS },
        {
          role: 'user',
          content: [
            { tool_use_id: 'toolu_1', content: 'snow' },
            { tool_use_id: 'toolu_2', content: 'snow' },
          ],
        },
      ],
    })
  })

  test('a paused answer says so, and goes on when its blocks are sent back', async () => {
    const paused = BLOCKS.slice(0, 4)
    server.answer(stream(paused, 'pause_turn'), { body: message([{ type: 'text', text: 'done' }], 'end_turn') })
    const { text, isPaused, vendorTurn, toolCalls } = await generate({ onDelta: () => undefined })
    expect({ isPaused, toolCalls, blocks: vendorTurn?.blocks }).toEqual({ isPaused: true, toolCalls: undefined, blocks: paused })
    const continued: ModelRequest = {
      ...request,
      messages: [...request.messages, { role: 'assistant', content: text, vendorTurn }],
    }
    await provider.generate(continued, { signal: new AbortController().signal })
    expect(server.requests.at(-1)?.body).toMatchObject({ messages: [{}, { role: 'assistant', content: paused }] })
  })

  test('an answer without calls holds no blocks', async () => {
    server.answer({ body: message(BLOCKS.slice(0, 3), 'end_turn') })
    expect((await generate()).vendorTurn).toBeUndefined()
  })

  test('a call that was cut at the bound of tokens keeps its text, and no turn', async () => {
    const events = stream([BLOCKS[7] ?? {}], 'max_tokens')
    server.answer({ ...events, body: events.body.replace(/event: content_block_delta\ndata: [^\n]*\]\}[^\n]*\n\n/, '') })
    const answer = await generate({ onDelta: () => undefined })
    expect(answer).toMatchObject({ finishReason: 'length', toolCalls: [{ name: 'weather' }] })
    expect(answer.vendorTurn).toBeUndefined()
  })

  test('writes to the cache for one hour are noted, because they cost more than price lists know', async () => {
    server.answer({ body: message(BLOCKS, 'tool_use', { cache_creation: { ephemeral_1h_input_tokens: 900 } }) })
    expect((await generate()).notes).toContainEqual(expect.stringContaining('900 tokens were written to the cache for one hour'))
  })

  test('searches that Anthropic bills per request are noted', async () => {
    server.answer({
      body: message(BLOCKS, 'tool_use', { server_tool_use: { web_search_requests: 2, web_fetch_requests: 0 } }),
    })
    expect((await generate()).notes).toContain(
      'Anthropic ran 2 web searches, which it bills per search and the cost does not include',
    )
  })
})
