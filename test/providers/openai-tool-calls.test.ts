import { describe, expect, test } from 'vitest'
import { createChatReader } from '../../src/providers/openai/chat/chat.ts'
import { OPENAI_DIALECT, UNKNOWN_DIALECT } from '../../src/providers/openai/dialect.ts'
import { createResponsesReader } from '../../src/providers/openai/responses/responses.ts'

const initial = { provider: 'desk', secrets: [], model: 'm' }

/** Reads chunks of Chat Completions with these deltas, and returns the answer. */
function answerOf(deltas: readonly object[], finish_reason = 'tool_calls', dialect = UNKNOWN_DIALECT) {
  const reader = createChatReader(initial, dialect)
  for (const delta of deltas) reader.readEvent({ choices: [{ index: 0, delta }] })
  reader.readEvent({ choices: [{ index: 0, delta: {}, finish_reason }] })
  return reader.toModelResponse([])
}
const callsOf = (...calls: readonly (readonly object[])[]) => answerOf(calls.map((tool_calls) => ({ tool_calls }))).toolCalls

const fn = (name: string | undefined, given: unknown) => ({ function: { ...(name && { name }), arguments: given } })
const A = { id: 'a', name: 'find', arguments: '{"q":"x y"}' }
const B = { id: 'b', name: 'find', arguments: '{"q":"z"}' }

describe('tool calls of a stream', () => {
  test.each<[string, readonly (readonly object[])[], readonly object[]]>([
    [
      'ids only in the first fragment, calls interleaved by index',
      [
        [{ index: 0, id: 'a', ...fn('find', '') }],
        [{ index: 1, id: 'b', ...fn('find', '{"q":') }],
        [{ index: 0, ...fn(undefined, '{"q":"x ') }],
        [{ index: 1, ...fn(undefined, '"z"}') }],
        [{ index: 0, ...fn(undefined, 'y"}') }],
      ],
      [A, B],
    ],
    [
      'calls as one chunk',
      [
        [
          { index: 0, id: 'a', ...fn('find', '{"q":"x y"}') },
          { index: 1, id: 'b', ...fn('find', '{"q":"z"}') },
        ],
      ],
      [A, B],
    ],
    [
      'every call with the index 0 and an id',
      [[{ index: 0, id: 'a', ...fn('find', '{"q":"x y"}') }], [{ index: 0, id: 'b', ...fn('find', '{"q":"z"}') }]],
      [A, B],
    ],
    [
      'no index, and the id in every fragment',
      [[{ id: 'a', ...fn('find', '{"q":') }], [{ id: 'a', ...fn('find', '"x y"}') }], [{ id: 'b', ...fn('find', '{"q":"z"}') }]],
      [A, B],
    ],
    [
      'no index, and the id only in the first fragment',
      [[{ id: 'a', ...fn('find', '{"q":') }], [fn(undefined, '"x y"}')], [{ id: 'b', ...fn('find', '{"q":"z"}') }]],
      [A, B],
    ],
    [
      'neither index nor id',
      [[fn('find', '{"q":"x y"}')], [fn('find', '{"q":"z"}')]],
      [
        { name: 'find', arguments: A.arguments },
        { name: 'find', arguments: B.arguments },
      ],
    ],
    [
      'the same id for two calls',
      [[{ id: 'a', ...fn('find', '{"q":"x y"}') }], [{ id: 'a', ...fn('find', '{"q":"z"}') }]],
      [A, { ...B, id: 'a_2' }],
    ],
    [
      'the whole call again at the end',
      [
        [{ index: 0, id: 'a', ...fn('find', '{"q":') }],
        [{ index: 0, ...fn(undefined, '"x y"}') }],
        [{ index: 0, id: 'a', ...fn('find', '{"q":"x y"}') }],
        [{ index: 0, id: 'a', ...fn('find', '') }],
      ],
      [A],
    ],
    ['arguments as an object', [[{ index: 0, id: 'a', ...fn('find', { q: 'x y' }) }]], [A]],
    ['an id that comes late', [[{ index: 0, ...fn('find', '{"q":') }], [{ index: 0, id: 'a', ...fn(undefined, '"x y"}') }]], [A]],
    [
      'calls without arguments',
      [
        [
          { index: 0, id: 'a', ...fn('now', '') },
          { index: 1, id: 'b', ...fn('here', null) },
        ],
      ],
      [
        { id: 'a', name: 'now', arguments: '' },
        { id: 'b', name: 'here', arguments: '' },
      ],
    ],
  ])('are read with %s', (_, calls, expected) => {
    expect(callsOf(...calls)).toEqual(expected)
  })

  test('an answer that ends with "stop" but calls tools has finished with tool calls', () => {
    expect(answerOf([{ tool_calls: [{ index: 0, id: 'a', ...fn('now', '{}') }] }], 'stop').finishReason).toBe('tool_calls')
  })
})

describe('the turn that goes back with results', () => {
  const calls = { tool_calls: [{ index: 0, id: 'a', ...fn('find', '{}') }] }
  const sent = [{ id: 'a', type: 'function', function: { name: 'find', arguments: '{}' } }]
  const blocksOf = (...given: Parameters<typeof answerOf>) => answerOf(...given).vendorTurn?.blocks

  test('keeps reasoning in the field in which it came', () => {
    expect(blocksOf([{ reasoning_content: 'Hm' }, { reasoning_content: '…' }, calls])).toEqual([
      { content: null, reasoning_content: 'Hm…', tool_calls: sent },
    ])
  })

  test('keeps signed parts, joined from their fragments, and no text twice', () => {
    const part = (more: object) => ({ type: 'thinking', ...more })
    expect(
      blocksOf([
        { reasoning_content: 'Hm', thinking_blocks: [part({ thinking: 'Hm', signature: null })] },
        { thinking_blocks: [part({ thinking: '', signature: 's1' })] },
        { reasoning_content: '!', thinking_blocks: [part({ thinking: '!' })] },
        { content: 'I look.', ...calls },
      ]),
    ).toEqual([
      {
        content: 'I look.',
        reasoning_content: 'Hm!',
        thinking_blocks: [part({ thinking: 'Hm', signature: 's1' }), part({ thinking: '!' })],
        tool_calls: sent,
      },
    ])
  })

  test('keeps encrypted parts of OpenRouter apart', () => {
    const encrypted = (index: number, data: string) => ({ type: 'reasoning.encrypted', index, data, format: 'openai' })
    expect(
      blocksOf([{ reasoning: 'x', reasoning_details: [encrypted(0, 'AA')] }, { reasoning_details: [encrypted(1, 'BB')] }, calls]),
    ).toEqual([{ content: null, reasoning_details: [encrypted(0, 'AA'), encrypted(1, 'BB')], tool_calls: sent }])
  })

  test('keeps the signatures that Gemini attaches to calls', () => {
    const extra_content = { google: { thought_signature: 'sig' } }
    expect(blocksOf([{ tool_calls: [{ index: 0, id: 'a', ...fn('find', '{}'), extra_content }] }])).toEqual([
      { content: null, tool_calls: [{ ...sent[0], extra_content }] },
    ])
  })

  test('holds thinking as parts of the content for Mistral, and nothing for services that take none', () => {
    const thought = { content: [{ type: 'thinking', thinking: [{ type: 'text', text: 'Hm' }] }] }
    expect(blocksOf([thought, calls], 'tool_calls', { ...UNKNOWN_DIALECT, returnsReasoning: 'parts' })).toEqual([
      { content: [{ type: 'thinking', thinking: [{ type: 'text', text: 'Hm' }] }], tool_calls: sent },
    ])
    const never = { ...UNKNOWN_DIALECT, returnsReasoning: 'never' } as const
    expect(blocksOf([{ reasoning_content: 'Hm' }, calls], 'tool_calls', never)).toBeUndefined()
  })

  test('is not needed without reasoning or without calls', () => {
    expect(blocksOf([{ content: 'x' }, calls])).toBeUndefined()
    expect(blocksOf([{ reasoning_content: 'Hm' }, { content: 'x' }], 'stop')).toBeUndefined()
  })

  const item = { type: 'function_call', id: 'fc_1', call_id: 'a', name: 'find', arguments: '{}' }
  const responsesTurn = (...output: readonly object[]) => {
    const reader = createResponsesReader(initial, OPENAI_DIALECT)
    reader.readWhole({ status: 'completed', model: 'm', output })
    return reader.toModelResponse([]).vendorTurn?.blocks
  }

  test('holds all items of Responses, unless reasoning came without its encrypted content', () => {
    const reasoning = { type: 'reasoning', id: 'rs_1', summary: [], encrypted_content: 'AA' }
    expect(responsesTurn(reasoning, item)).toEqual([reasoning, item])
    expect(responsesTurn({ ...reasoning, encrypted_content: null }, item)).toBeUndefined()
    expect(responsesTurn(item)).toBeUndefined()
  })
})

describe('files that a model made', () => {
  const png = Buffer.from('89504e470d0a1a0a', 'hex')
  const wav = Buffer.from('RIFF....WAVEdata')
  const image = { type: 'image_url', image_url: { url: `data:image/png;base64,${png.toString('base64')}` } }

  test('images and sound of Chat Completions are files, also in a stream', () => {
    const deltas = [
      { content: 'Here.', images: [image] },
      { audio: { data: wav.subarray(0, 7).toString('base64') } },
      { audio: { data: wav.subarray(7).toString('base64') } },
    ]
    const { files, notes } = answerOf(deltas, 'stop')
    expect(files).toEqual([
      { mediaType: 'image/png', data: png },
      { mediaType: 'audio/wav', data: wav },
    ])
    expect(notes).toEqual([])
  })

  test('an image at an address is not fetched, with a note', () => {
    const elsewhere = { type: 'image_url', image_url: { url: 'https://example.org/a.png' } }
    const { files, notes } = answerOf([{ content: 'Here.', images: [elsewhere] }], 'stop')
    expect(files).toBeUndefined()
    expect(notes).toEqual(['left out of the answer: images'])
  })

  test('images of Responses are files, and calls of hosted tools are named for their price', () => {
    const reader = createResponsesReader(initial, OPENAI_DIALECT)
    reader.readWhole({
      status: 'completed',
      output: [
        { type: 'web_search_call', action: { sources: [{ type: 'url', url: 'https://example.org' }] } },
        { type: 'image_generation_call', result: png.toString('base64') },
        { type: 'message', content: [{ type: 'output_text', text: 'Here.' }] },
      ],
    })
    expect(reader.toModelResponse([])).toMatchObject({
      files: [{ mediaType: 'image/png', data: png }],
      sources: [{ kind: 'search_result', url: 'https://example.org' }],
      notes: [
        'calls of hosted tools are billed beside the tokens and are not part of the cost: 1 web_search, 1 image_generation',
      ],
    })
  })
})
