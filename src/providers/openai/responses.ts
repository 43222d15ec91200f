import type { FinishReason, ModelRequest, ToolCall } from '../../domain/model-call.ts'
import { type ForeignRecord, isRecord, listOf, recordOf, textOf } from '../foreign-json.ts'
import { toStructuredSchema } from '../json-schema.ts'
import { fitSettings } from '../model-capabilities.ts'
import { type AttemptState, toBadReply, toVendorError } from '../vendor-error.ts'
import { type AnswerReader, type OutgoingRequest, toResponse } from './answer.ts'
import { toUsage } from './openai-usage.ts'
import { toStatedCostUsd } from './stated-cost.ts'

/** Smaller bounds are refused (platform.openai.com/docs/api-reference/responses/create, 2026-11). */
const MIN_OUTPUT_TOKENS = 16

/** The request as the Responses API takes it. Answers are not stored at the vendor. */
export function toResponsesRequest(request: ModelRequest, streams: boolean): OutgoingRequest {
  const { settings, notes } = fitSettings(request.model, request.settings)
  const body: Record<string, unknown> = { model: request.model, input: request.messages, store: false }
  const allNotes = [...notes]
  if (request.system !== undefined) body.instructions = request.system
  if (settings.temperature !== undefined) body.temperature = settings.temperature
  if (settings.topP !== undefined) body.top_p = settings.topP
  if (settings.maxTokens !== undefined) {
    body.max_output_tokens = Math.max(settings.maxTokens, MIN_OUTPUT_TOKENS)
    if (settings.maxTokens < MIN_OUTPUT_TOKENS)
      allNotes.push(`maxTokens was raised to ${MIN_OUTPUT_TOKENS}: the provider refuses less`)
  }
  if (settings.stopSequences?.length) allNotes.push('stopSequences was left out: the Responses API has none')
  const structured = request.outputSchema && toStructuredSchema(request.outputSchema)
  if (structured) {
    const { schema, strict } = structured
    body.text = { format: { type: 'json_schema', name: 'answer', schema, strict } }
    if (!strict) allNotes.push('outputSchema was sent without strict mode: it has parts that strict mode can not express')
  }
  if (request.outputSchema && !structured) allNotes.push('outputSchema was left out: only objects can be enforced')
  if (streams) body.stream = true
  return { path: '/responses', body, notes: allNotes }
}

// A map: a vendor's word must not reach what every object inherits.
const FINISH_REASONS: ReadonlyMap<string, FinishReason> = new Map(
  Object.entries<FinishReason>({
    max_output_tokens: 'length',
    max_tokens: 'length',
    content_filter: 'content_filter',
  }),
)

/** Reads answers of the Responses API. */
export function createResponsesReader(about: AttemptState & { readonly model: string }): AnswerReader {
  let final: ForeignRecord | undefined
  let streamed = ''
  let model = ''
  let usage: unknown
  let began = false
  let odd = false
  const items: unknown[] = []

  function readEvent(event: unknown): string {
    if (!isRecord(event)) return ''
    const type = textOf(event.type) ?? ''
    if (type === 'response.output_text.delta') {
      const delta = textOf(event.delta) ?? ''
      began = true
      streamed += delta
      return delta
    }
    if (type === 'error' || event.error) {
      const { code, message, param } = event
      throw toVendorError({ ...state(), body: event.error ? event : { code, message, param } })
    }
    if (type === 'response.output_item.done') items.push(event.item)
    if (!isRecord(event.response)) return ''
    if (!model) model = textOf(event.response.model) ?? ''
    if (type === 'response.completed' || type === 'response.incomplete' || type === 'response.failed')
      return finishWith(event.response)
    return ''
  }

  /** The last event holds the whole answer again; text that was never streamed is delivered with it. */
  function finishWith(response: ForeignRecord): string {
    readWhole(response, items)
    const text = toText(outputOf(response))
    if (text.startsWith(streamed)) {
      const rest = text.slice(streamed.length)
      streamed = text
      return rest
    }
    odd = text !== ''
    return ''
  }

  function readWhole(reply: unknown, fallbackItems?: readonly unknown[]): string {
    if (!isRecord(reply)) throw toBadReply(typeof reply === 'string' ? 'text' : 'no JSON object', state())
    usage = reply.usage
    if (textOf(reply.model)) model = textOf(reply.model) ?? ''
    if (reply.error || reply.object === 'error' || reply.statusCode || reply.status === 'failed') {
      throw toVendorError({ ...state(), body: reply.error ? { error: reply.error } : reply.status ? {} : reply })
    }
    if (!Array.isArray(reply.output) && !fallbackItems) {
      throw textOf(reply.message) ? toVendorError({ ...state(), body: reply }) : toBadReply('an answer without output', state())
    }
    const status = textOf(reply.status) ?? 'completed'
    if (status !== 'completed' && status !== 'incomplete')
      throw toBadReply(`an answer that is still ${status.slice(0, 20)}`, state())
    final = reply
    if (fallbackItems) return ''
    streamed = toText(listOf(reply.output))
    return streamed
  }

  /** Some compatible servers leave the output of their last event empty. */
  const outputOf = (response: ForeignRecord) => {
    const output = listOf(response.output)
    return output.length > 0 ? output : items
  }

  function state(): AttemptState {
    return {
      ...about,
      model: model || about.model,
      usage: usage ? toUsage(usage) : undefined,
      generated: about.generated || began,
    }
  }

  return {
    readWhole: (reply) => readWhole(reply),
    readEvent,
    isFinished: () => final !== undefined,
    isClosed: () => final !== undefined,
    state,
    endText: () => '',
    toResponse(notes) {
      const response = final ?? {}
      const output = outputOf(response)
      return toResponse({
        text: streamed,
        refusal: partsOf(output, 'refusal').join(''),
        reasoningText: toReasoningText(output),
        toolCalls: output.map(toToolCall).filter((call) => call !== undefined),
        finishReason:
          response.status === 'incomplete'
            ? (FINISH_REASONS.get(textOf(recordOf(response.incomplete_details).reason) ?? '') ?? 'other')
            : 'stop',
        model: model || about.model,
        usage: toUsage(usage),
        providerCostUsd: toStatedCostUsd(usage),
        notes: odd ? [...notes, 'the streamed text differs from the final answer; the streamed text is kept'] : notes,
      })
    },
  }
}

const toText = (output: readonly unknown[]) => [...partsOf(output, 'text')].join('')

function partsOf(output: readonly unknown[], field: 'text' | 'refusal'): readonly string[] {
  return output
    .filter((item) => recordOf(item).type === 'message')
    .flatMap((item) => listOf(recordOf(item).content))
    .map((part) => textOf(recordOf(part)[field]))
    .filter((part) => part !== undefined)
}

/** Reasoning comes as a summary (OpenAI, xAI) or in full (open models). */
function toReasoningText(output: readonly unknown[]): string {
  return output
    .map(recordOf)
    .filter((item) => item.type === 'reasoning')
    .flatMap((item) => (listOf(item.content).length > 0 ? listOf(item.content) : listOf(item.summary)))
    .map((part) => textOf(recordOf(part).text) ?? '')
    .join('')
}

function toToolCall(item: unknown): ToolCall | undefined {
  const { type, call_id, id, name, arguments: given, input } = recordOf(item)
  if (type !== 'function_call' && type !== 'custom_tool_call') return undefined
  const callId = textOf(call_id) ?? textOf(id)
  return { ...(callId && { id: callId }), name: textOf(name) ?? '', arguments: textOf(given) ?? textOf(input) ?? '' }
}
