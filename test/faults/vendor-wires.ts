import type { ServerResponse } from 'node:http'
import type { ProviderSettingsInput } from '../../src/config/provider-settings.ts'

/** How one vendor's server speaks: whole answers, and the events of a streamed one. */
export interface Wire {
  readonly name: string
  readonly model: string
  /** Settings of a provider that asks a server at `baseUrl`. */
  readonly settings: (baseUrl: string, apiKey: string) => ProviderSettingsInput
  readonly whole: (text: string, usage: WireUsage) => unknown
  /** Events that carry the text, without the mark that closes the answer. */
  readonly opening: (text: string) => readonly string[]
  readonly closing: (text: string, usage: WireUsage) => readonly string[]
  /** An error as this vendor writes it in a body or an event. */
  readonly error: unknown
  readonly isStreamed: (path: string, body: unknown) => boolean
}

export interface WireUsage {
  readonly input: number
  readonly output: number
}

const data = (event: unknown): string => `data: ${JSON.stringify(event)}\n\n`
const wantsStream = (_: string, body: unknown): boolean =>
  typeof body === 'object' && body !== null && 'stream' in body && body.stream === true

const openaiError = { error: { message: 'The server had an error', type: 'server_error', param: null, code: null } }

const chunk = (delta: unknown, finishReason: string | null = null) =>
  data({ id: 'c1', object: 'chat.completion.chunk', model: 'm', choices: [{ index: 0, delta, finish_reason: finishReason }] })
const chatUsage = ({ input, output }: WireUsage) => ({
  prompt_tokens: input,
  completion_tokens: output,
  total_tokens: input + output,
})

const chat = {
  model: 'm',
  whole: (text: string, usage: WireUsage) => ({
    id: 'c1',
    object: 'chat.completion',
    model: 'm',
    choices: [{ index: 0, message: { role: 'assistant', content: text, refusal: null }, finish_reason: 'stop' }],
    usage: chatUsage(usage),
  }),
  opening: (text: string) => [chunk({ role: 'assistant', content: '' }), chunk({ content: text })],
  closing: (_: string, usage: WireUsage) => [
    chunk({}, 'stop'),
    data({ id: 'c1', object: 'chat.completion.chunk', model: 'm', choices: [], usage: chatUsage(usage) }),
    'data: [DONE]\n\n',
  ],
  error: openaiError,
  isStreamed: wantsStream,
}

const response = (status: string, text: string, usage?: WireUsage) => ({
  id: 'r1',
  object: 'response',
  status,
  model: 'm',
  error: null,
  incomplete_details: null,
  output:
    text === ''
      ? []
      : [{ type: 'message', role: 'assistant', status, content: [{ type: 'output_text', text, annotations: [] }] }],
  usage: usage ? { input_tokens: usage.input, output_tokens: usage.output, total_tokens: usage.input + usage.output } : null,
})

const message = (content: readonly unknown[], usage: WireUsage, stopReason: string | null) => ({
  id: 'm1',
  type: 'message',
  role: 'assistant',
  model: 'm',
  content,
  stop_reason: stopReason,
  stop_sequence: null,
  usage: { input_tokens: usage.input, output_tokens: usage.output },
})
const named = (event: { readonly type: string }): string => `event: ${event.type}\n${data(event)}`

const candidate = (text: string, finishReason?: string) => ({
  candidates: [{ content: { role: 'model', parts: [{ text }] }, ...(finishReason && { finishReason }), index: 0 }],
  modelVersion: 'm',
})
const geminiUsage = ({ input, output }: WireUsage) => ({
  promptTokenCount: input,
  candidatesTokenCount: output,
  totalTokenCount: input + output,
})

export const WIRES: readonly Wire[] = [
  { name: 'openai chat', settings: (baseUrl, apiKey) => ({ kind: 'openai', api: 'chat', baseUrl, apiKey }), ...chat },
  {
    name: 'openai responses',
    model: 'm',
    settings: (baseUrl, apiKey) => ({ kind: 'openai', api: 'responses', baseUrl, apiKey }),
    whole: (text, usage) => response('completed', text, usage),
    opening: (text) => [
      data({ type: 'response.created', response: response('in_progress', '') }),
      data({ type: 'response.output_text.delta', item_id: 'i1', output_index: 0, content_index: 0, delta: text }),
    ],
    closing: (text, usage) => [data({ type: 'response.completed', response: response('completed', text, usage) })],
    error: openaiError,
    isStreamed: wantsStream,
  },
  {
    name: 'anthropic',
    model: 'm',
    settings: (baseUrl, apiKey) => ({ kind: 'anthropic', baseUrl, apiKey }),
    whole: (text, usage) => message([{ type: 'text', text }], usage, 'end_turn'),
    opening: (text) => [
      named({ type: 'message_start', ...{ message: message([], { input: 10, output: 1 }, null) } }),
      named({ type: 'content_block_start', ...{ index: 0, content_block: { type: 'text', text: '' } } }),
      named({ type: 'content_block_delta', ...{ index: 0, delta: { type: 'text_delta', text } } }),
    ],
    closing: (_, { input, output }) => [
      named({ type: 'content_block_stop', ...{ index: 0 } }),
      named({
        type: 'message_delta',
        ...{ delta: { stop_reason: 'end_turn', stop_sequence: null }, usage: { input_tokens: input, output_tokens: output } },
      }),
      named({ type: 'message_stop' }),
    ],
    error: { type: 'error', error: { type: 'overloaded_error', message: 'Overloaded' } },
    isStreamed: wantsStream,
  },
  {
    name: 'google',
    model: 'gemini-2.5-flash',
    settings: (baseUrl, apiKey) => ({ kind: 'google', baseUrl, apiKey }),
    whole: (text, usage) => ({ ...candidate(text, 'STOP'), usageMetadata: geminiUsage(usage) }),
    opening: (text) => [data(candidate(text))],
    closing: (_, usage) => [data({ ...candidate('', 'STOP'), usageMetadata: geminiUsage(usage) })],
    error: { error: { code: 503, message: 'The model is overloaded.', status: 'UNAVAILABLE' } },
    isStreamed: (path) => path.includes('streamGenerateContent'),
  },
  {
    name: 'openai-compatible',
    settings: (baseUrl, apiKey) => ({ kind: 'openai-compatible', baseUrl, apiKey }),
    ...chat,
  },
]

export const USAGE: WireUsage = { input: 10, output: 5 }
export const SSE = { 'content-type': 'text/event-stream; charset=utf-8' } as const
export const JSON_TYPE = { 'content-type': 'application/json' } as const

/** A whole, sound answer in the form that was asked for. */
export function answerWell(wire: Wire, streamed: boolean, response: ServerResponse, text: string, usage = USAGE): void {
  if (!streamed) {
    response.writeHead(200, JSON_TYPE).end(JSON.stringify(wire.whole(text, usage)))
    return
  }
  response.writeHead(200, SSE).end([...wire.opening(text), ...wire.closing(text, usage)].join(''))
}
