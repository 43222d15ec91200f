import { createHash } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import {
  buildTextChunks,
  buildTextCompletion,
  buildToolCallChunks,
  buildToolCallCompletion,
  type Fixture,
  handleGemini,
  handleMessages,
  handleResponses,
  Journal,
  Logger,
  writeErrorResponse,
  writeSSEStream,
} from '@copilotkit/aimock'
import type { SimulatedFormat, SimulatedRequest } from './simulated-request.ts'

/**
 * An answer to write in a vendor's format. This module loads aimock (1.43.0), so it is imported only when a simulator
 * starts.
 */
export interface SimulatedAnswer {
  readonly text: string
  readonly inputTokens: number
  readonly outputTokens: number
  /** Present if the answer calls a tool. */
  readonly toolCall?: { readonly name: string; readonly arguments: string }
}

export interface SimulatedExchange {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly simulated: SimulatedRequest
}

export interface ReplyWriter {
  write(exchange: SimulatedExchange, answer: SimulatedAnswer): Promise<void>
  /** Writes the vendor's 429 response, with `Retry-After: 0`. */
  writeRateLimit(exchange: SimulatedExchange): void
}

/** Characters of one streamed chunk. */
const CHUNK_SIZE = 32

type WriteFormat = (exchange: SimulatedExchange, answer: SimulatedAnswer) => Promise<void>

export function createReplyWriter({ chunkDelayMs }: { readonly chunkDelayMs: number }): ReplyWriter {
  const defaults = { latency: chunkDelayMs, chunkSize: CHUNK_SIZE, replaySpeed: 1, logger: new Logger('silent') }
  const formats: Readonly<Record<SimulatedFormat, WriteFormat>> = {
    responses: ({ request, response, simulated }, answer) =>
      handleResponses(request, response, simulated.raw, [toFixture(answer, simulated)], new Journal(), defaults, noHeaders),
    chat: (exchange, answer) => writeChat(exchange, answer, chunkDelayMs),
    messages: ({ request, response, simulated }, answer) =>
      handleMessages(request, response, simulated.raw, [toFixture(answer, simulated)], new Journal(), defaults, noHeaders),
    generateContent: ({ request, response, simulated }, answer) => {
      const { raw, model, stream } = simulated
      const fixtures = [toFixture(answer, simulated)]
      return handleGemini(request, response, raw, model, stream, fixtures, new Journal(), defaults, noHeaders)
    },
  }
  return {
    write: (exchange, answer) => formats[exchange.simulated.format](exchange, answer),
    writeRateLimit: ({ response, simulated: { vendor } }) =>
      writeErrorResponse(response, 429, JSON.stringify(RATE_LIMITS[vendor]), { retryAfter: 0 }),
  }
}

const noHeaders = (): void => {}

const toUsage = ({ inputTokens, outputTokens }: SimulatedAnswer) => ({
  prompt_tokens: inputTokens,
  completion_tokens: outputTokens,
  total_tokens: inputTokens + outputTokens,
})

const toFixture = (answer: SimulatedAnswer, { raw, format }: SimulatedRequest): Fixture => {
  const usage = toUsage(answer)
  const toolCalls = toToolCalls(answer, raw)
  if (!toolCalls) return { match: {}, response: { content: answer.text, usage } }
  // Gemini ends calls with STOP, aimock with a word of its own.
  return { match: {}, response: { toolCalls, usage, ...(format === 'generateContent' && { finishReason: 'stop' }) } }
}

/** The id depends on the request alone, as everything in an answer does. */
const toToolCalls = ({ toolCall }: SimulatedAnswer, raw: string) =>
  toolCall && [{ ...toolCall, id: `call_${createHash('sha1').update(raw).digest('hex').slice(0, 24)}` }]

/** Writes Chat Completions with the public functions of aimock, which does not export its own handler. */
async function writeChat({ response, simulated }: SimulatedExchange, answer: SimulatedAnswer, latency: number): Promise<void> {
  const { model, stream, raw } = simulated
  const usage = toUsage(answer)
  const calls = toToolCalls(answer, raw)
  if (!stream) {
    response.writeHead(200, { 'content-type': 'application/json' })
    const completion = calls
      ? buildToolCallCompletion(calls, model, undefined, { usage })
      : buildTextCompletion(answer.text, model, undefined, { usage })
    response.end(JSON.stringify(completion))
    return
  }
  const chunks = calls ? buildToolCallChunks(calls, model, CHUNK_SIZE) : buildTextChunks(answer.text, model, CHUNK_SIZE)
  const [first] = chunks
  await writeSSEStream(response, chunks, { latency, ...(first && { usageChunk: { ...first, choices: [], usage } }) })
}

const MESSAGE = 'Simulated rate limit: try again at once.'
const RATE_LIMITS = {
  openai: { error: { message: MESSAGE, type: 'requests', param: null, code: 'rate_limit_exceeded' } },
  anthropic: { type: 'error', error: { type: 'rate_limit_error', message: MESSAGE } },
  google: { error: { code: 429, message: MESSAGE, status: 'RESOURCE_EXHAUSTED' } },
} as const
