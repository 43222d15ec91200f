import type { ToolCall } from '../../src/domain/execution/model-call.ts'
import { type ForeignRecord, listOf, recordOf, textOf } from '../../src/providers/vendor/foreign-json.ts'
import type { ToolWire } from '../contracts/provider-tools.ts'
import { SSE_HEADERS, sse } from './vendor-server.ts'

const piecesOf = (text: string): readonly string[] => text.match(/.{1,11}/gsu) ?? []

const message = (content: readonly object[], stop_reason: string | null) => ({
  id: 'msg_1',
  type: 'message',
  role: 'assistant',
  model: 'answering-model',
  content,
  stop_reason,
  usage: { input_tokens: 10, output_tokens: 5 },
})

const THINKING = { type: 'thinking', thinking: 'Which place?', signature: 'c2lnbmVk' }

const toBlock = ({ id, name, arguments: given }: ToolCall, input: unknown = JSON.parse(given)) => ({
  type: 'tool_use',
  id,
  name,
  input,
})

const start = (index: number, content_block: object) => ({ type: 'content_block_start', index, content_block })
const delta = (index: number, content: object) => ({ type: 'content_block_delta', index, delta: content })
const end = (index: number) => ({ type: 'content_block_stop', index })

const callEvents = (call: ToolCall, index: number) => [
  start(index, toBlock(call, {})),
  ...piecesOf(call.arguments).map((partial_json) => delta(index, { type: 'input_json_delta', partial_json })),
  end(index),
]

const stream = (...events: readonly object[]) => ({
  headers: SSE_HEADERS,
  body: sse(
    { type: 'message_start', message: message([], null) },
    ...events,
    { type: 'message_delta', delta: { stop_reason: 'tool_use' }, usage: { output_tokens: 5 } },
    { type: 'message_stop' },
  ),
})

const blocksOf = (body: unknown): readonly ForeignRecord[] =>
  listOf(recordOf(body).messages).flatMap((each) => listOf(recordOf(each).content).map(recordOf))

const isThinking = ({ thinking, signature }: ForeignRecord) => thinking === THINKING.thinking && signature === THINKING.signature

function toChoice({ type = 'auto', name }: ForeignRecord): unknown {
  return type === 'tool' ? { name } : type === 'any' ? 'required' : type
}

/** The Messages API. */
export const anthropicToolWire: ToolWire = {
  wholeCalls: (calls) => ({
    body: message(
      calls.map((call) => toBlock(call)),
      'tool_use',
    ),
  }),
  streamedCalls: (calls) => stream(...calls.flatMap(callEvents)),
  signedCall: (call) => ({ body: message([THINKING, toBlock(call)], 'tool_use') }),
  streamedSignedCall: (call) =>
    stream(
      start(0, { type: 'thinking', thinking: '', signature: '' }),
      ...piecesOf(THINKING.thinking).map((thinking) => delta(0, { type: 'thinking_delta', thinking })),
      delta(0, { type: 'signature_delta', signature: THINKING.signature }),
      end(0),
      ...callEvents(call, 1),
    ),
  returnsSigned: (body) => blocksOf(body).some(isThinking),
  engineField: 'messages',
  refusedSetting: { seed: 7 },
  read: (body) => ({
    tools: listOf(recordOf(body).tools).map((tool) => {
      const { name, description, input_schema } = recordOf(tool)
      const words = textOf(description)
      return { name: String(name), ...(words && { description: words }), parameters: recordOf(input_schema) }
    }),
    toolChoice: toChoice(recordOf(recordOf(body).tool_choice)),
    calls: blocksOf(body)
      .filter(({ type }) => type === 'tool_use')
      .map(({ id, name, input }) => ({ id: textOf(id), name: String(name), arguments: input })),
    results: blocksOf(body)
      .filter(({ type }) => type === 'tool_result')
      .map(({ tool_use_id, content }) => ({ id: textOf(tool_use_id), content: String(content) })),
    images: blocksOf(body)
      .filter(({ type }) => type === 'image')
      .map(({ source }) => ({ mediaType: String(recordOf(source).media_type), data: String(recordOf(source).data) })),
  }),
}
