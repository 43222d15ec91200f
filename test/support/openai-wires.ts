import type { VendorWire } from '../contracts/provider.ts'
import { SSE_HEADERS, sse } from './vendor-server.ts'

const chunk = (delta: unknown, finish_reason: string | null = null) => ({
  id: 'chatcmpl-1',
  object: 'chat.completion.chunk',
  model: 'answering-model',
  choices: [{ index: 0, delta, finish_reason }],
  usage: null,
})

/** Chat Completions, as OpenAI sends it. */
export const chatWire: VendorWire = {
  whole: (text) => ({
    body: {
      id: 'chatcmpl-1',
      object: 'chat.completion',
      model: 'answering-model',
      choices: [{ index: 0, message: { role: 'assistant', content: text, refusal: null }, finish_reason: 'stop' }],
      usage: { prompt_tokens: 10, completion_tokens: 5, total_tokens: 15 },
    },
  }),
  streamed: (pieces) => ({
    headers: SSE_HEADERS,
    body: sse(
      chunk({ role: 'assistant', content: '' }),
      ...pieces.map((content) => chunk({ content })),
      chunk({}, 'stop'),
      { ...chunk({}), choices: [], usage: { prompt_tokens: 10, completion_tokens: 5, total_tokens: 15 } },
      '[DONE]',
    ),
  }),
  terminalMarks: [
    'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","model":"answering-model","choices":[{"index":0,"delta":{},',
  ],
  error: (status, message) => ({ status, body: { error: { message, type: 'some_error', param: null, code: null } } }),
  errorInStream: (text) => ({
    headers: SSE_HEADERS,
    body: `${sse(chunk({ content: text }))}event: error\n${sse({ error: { message: 'overloaded', type: 'server_error', code: null } })}`,
  }),
}

const message = (text: string) => ({
  type: 'message',
  role: 'assistant',
  status: 'completed',
  content: [{ type: 'output_text', text, annotations: [] }],
})
const response = (status: string, output: readonly unknown[], rest = {}) => ({
  id: 'resp_1',
  object: 'response',
  status,
  model: 'answering-model',
  error: null,
  incomplete_details: null,
  output,
  usage: status === 'in_progress' ? null : { input_tokens: 10, output_tokens: 5, total_tokens: 15 },
  ...rest,
})
const created = { type: 'response.created', response: response('in_progress', []) }
const delta = (text: string) => ({
  type: 'response.output_text.delta',
  item_id: 'msg_1',
  output_index: 0,
  content_index: 0,
  delta: text,
})

/** The Responses API, as OpenAI sends it. */
export const responsesWire: VendorWire = {
  whole: (text) => ({ body: response('completed', [message(text)]) }),
  streamed: (pieces) => ({
    headers: SSE_HEADERS,
    body: sse(created, ...pieces.map(delta), {
      type: 'response.completed',
      response: response('completed', [message(pieces.join(''))]),
    }),
  }),
  terminalMarks: ['data: {"type":"response.completed"'],
  error: chatWire.error,
  errorInStream: (text) => ({
    headers: SSE_HEADERS,
    body: sse(created, delta(text), { type: 'error', code: 'server_error', message: 'The server had an error', param: null }),
  }),
}
