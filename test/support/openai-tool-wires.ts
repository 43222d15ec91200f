import type { ToolCall } from '../../src/domain/execution/model-call.ts'
import { type ForeignRecord, listOf, recordOf, textOf } from '../../src/providers/vendor/foreign-json.ts'
import type { ToolWire } from '../contracts/provider-tools.ts'
import { SSE_HEADERS, sse } from './vendor-server.ts'

/** Pieces of a text of at most eleven characters, so that JSON is cut inside of strings. */
const piecesOf = (text: string): readonly string[] => text.match(/.{1,11}/gsu) ?? []

function dataUrlOf(url: unknown) {
  const [, mediaType = '', data = ''] = /^data:([^;]+);base64,(.*)$/s.exec(String(url)) ?? []
  return { mediaType, data }
}

const CHAT_USAGE = { prompt_tokens: 10, completion_tokens: 5, total_tokens: 15 }
const DETAILS = [
  { type: 'reasoning.text', index: 0, text: 'Which ', format: 'anthropic-claude-v1' },
  { type: 'reasoning.text', index: 0, text: 'place?', signature: 'c2lnbmVk' },
]
const WHOLE_DETAILS = [
  { type: 'reasoning.text', index: 0, text: 'Which place?', format: 'anthropic-claude-v1', signature: 'c2lnbmVk' },
]

const toChatCall = ({ id, name, arguments: given }: ToolCall) => ({ id, type: 'function', function: { name, arguments: given } })

const chatAnswer = (message: object) => ({
  body: {
    id: 'chatcmpl-1',
    object: 'chat.completion',
    model: 'answering-model',
    choices: [{ index: 0, message: { role: 'assistant', content: null, ...message }, finish_reason: 'tool_calls' }],
    usage: CHAT_USAGE,
  },
})

const chunk = (delta: object, finish_reason: string | null = null) => ({
  id: 'chatcmpl-1',
  object: 'chat.completion.chunk',
  model: 'answering-model',
  choices: [{ index: 0, delta, finish_reason }],
  usage: null,
})

const toChatChunks = (calls: readonly ToolCall[]) =>
  calls.flatMap((call, index) => [
    chunk({ tool_calls: [{ index, ...toChatCall({ ...call, arguments: '' }) }] }),
    ...piecesOf(call.arguments).map((piece) => chunk({ tool_calls: [{ index, function: { arguments: piece } }] })),
  ])

const chatStream = (...chunks: readonly object[]) => ({
  headers: SSE_HEADERS,
  body: sse(
    chunk({ role: 'assistant', content: null }),
    ...chunks,
    chunk({}, 'tool_calls'),
    { ...chunk({}), choices: [], usage: CHAT_USAGE },
    '[DONE]',
  ),
})

const messagesOf = (body: unknown): readonly ForeignRecord[] => listOf(recordOf(body).messages).map(recordOf)

/** Chat Completions, with the signed reasoning of OpenRouter. */
export const chatToolWire: ToolWire = {
  wholeCalls: (calls) => chatAnswer({ tool_calls: calls.map(toChatCall) }),
  streamedCalls: (calls) => chatStream(...toChatChunks(calls)),
  signedCall: (call) =>
    chatAnswer({ tool_calls: [toChatCall(call)], reasoning: 'Which place?', reasoning_details: WHOLE_DETAILS }),
  streamedSignedCall: (call) =>
    chatStream(
      ...DETAILS.map((detail) => chunk({ reasoning: detail.text, reasoning_details: [detail] })),
      ...toChatChunks([call]),
    ),
  returnsSigned: (body) =>
    messagesOf(body).some(({ reasoning_details }) => JSON.stringify(reasoning_details) === JSON.stringify(WHOLE_DETAILS)),
  engineField: 'messages',
  refusedSetting: { temperature: 0.5 },
  read(body) {
    const { tools, tool_choice: choice } = recordOf(body)
    const named = textOf(recordOf(recordOf(choice).function).name)
    const parts = messagesOf(body).flatMap(({ content }) => listOf(content).map(recordOf))
    return {
      tools: listOf(tools).map((tool) => {
        const { name, description, parameters } = recordOf(recordOf(tool).function)
        return {
          name: String(name),
          ...(textOf(description) && { description: String(description) }),
          parameters: recordOf(parameters),
        }
      }),
      toolChoice: named ? { name: named } : choice,
      calls: messagesOf(body)
        .flatMap(({ tool_calls }) => listOf(tool_calls).map(recordOf))
        .map(({ id, function: called }) => ({
          id: textOf(id),
          name: String(recordOf(called).name),
          arguments: JSON.parse(String(recordOf(called).arguments)),
        })),
      results: messagesOf(body)
        .filter(({ role }) => role === 'tool')
        .map(({ tool_call_id, content }) => ({ id: textOf(tool_call_id), content: String(content) })),
      images: parts.filter(({ type }) => type === 'image_url').map(({ image_url }) => dataUrlOf(recordOf(image_url).url)),
    }
  },
}

const RESPONSES_USAGE = { input_tokens: 10, output_tokens: 5, total_tokens: 15 }
const REASONING = {
  id: 'rs_1',
  type: 'reasoning',
  summary: [{ type: 'summary_text', text: 'Which place?' }],
  encrypted_content: 'ZW5jcnlwdGVk',
}

const toItem = ({ id, name, arguments: given }: ToolCall) => ({
  id: `fc_${id}`,
  type: 'function_call',
  status: 'completed',
  call_id: id,
  name,
  arguments: given,
})

const response = (output: readonly object[], status = 'completed') => ({
  id: 'resp_1',
  object: 'response',
  status,
  model: 'answering-model',
  error: null,
  incomplete_details: null,
  output,
  usage: status === 'completed' ? RESPONSES_USAGE : null,
})

const toCallEvents = (call: ToolCall, output_index: number) => [
  { type: 'response.output_item.added', output_index, item: { ...toItem(call), arguments: '', status: 'in_progress' } },
  ...piecesOf(call.arguments).map((delta) => ({ type: 'response.function_call_arguments.delta', output_index, delta })),
  { type: 'response.function_call_arguments.done', output_index, arguments: call.arguments },
  { type: 'response.output_item.done', output_index, item: toItem(call) },
]

const responsesStream = (events: readonly object[], output: readonly object[]) => ({
  headers: SSE_HEADERS,
  body: sse({ type: 'response.created', response: response([], 'in_progress') }, ...events, {
    type: 'response.completed',
    response: response(output),
  }),
})

const itemsOf = (body: unknown): readonly ForeignRecord[] => listOf(recordOf(body).input).map(recordOf)

/** The Responses API, with encrypted reasoning. */
export const responsesToolWire: ToolWire = {
  wholeCalls: (calls) => ({ body: response(calls.map(toItem)) }),
  streamedCalls: (calls) => responsesStream(calls.flatMap(toCallEvents), calls.map(toItem)),
  signedCall: (call) => ({ body: response([REASONING, toItem(call)]) }),
  streamedSignedCall: (call) =>
    responsesStream(
      [
        { type: 'response.output_item.added', output_index: 0, item: { ...REASONING, summary: [] } },
        { type: 'response.reasoning_summary_text.delta', output_index: 0, delta: 'Which place?' },
        { type: 'response.output_item.done', output_index: 0, item: REASONING },
        ...toCallEvents(call, 1),
      ],
      [REASONING, toItem(call)],
    ),
  returnsSigned: (body) => itemsOf(body).some((item) => JSON.stringify(item) === JSON.stringify(REASONING)),
  engineField: 'input',
  refusedSetting: { temperature: 0.5 },
  read(body) {
    const { tools, tool_choice: choice } = recordOf(body)
    const named = textOf(recordOf(choice).name)
    const parts = itemsOf(body).flatMap(({ content }) => listOf(content).map(recordOf))
    return {
      tools: listOf(tools)
        .map(recordOf)
        .map(({ name, description, parameters }) => ({
          name: String(name),
          ...(textOf(description) && { description: String(description) }),
          parameters: recordOf(parameters),
        })),
      toolChoice: named ? { name: named } : choice,
      calls: itemsOf(body)
        .filter(({ type }) => type === 'function_call')
        .map(({ call_id, name, arguments: given }) => ({
          id: textOf(call_id),
          name: String(name),
          arguments: JSON.parse(String(given)),
        })),
      results: itemsOf(body)
        .filter(({ type }) => type === 'function_call_output')
        .map(({ call_id, output }) => ({ id: textOf(call_id), content: String(output) })),
      images: parts.filter(({ type }) => type === 'input_image').map(({ image_url }) => dataUrlOf(image_url)),
    }
  },
}
