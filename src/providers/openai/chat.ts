import type { FinishReason, ModelRequest, ToolCall } from '../../domain/model-call.ts'
import { type ForeignRecord, isRecord, listOf, recordOf, textOf } from '../foreign-json.ts'
import { toStructuredSchema } from '../json-schema.ts'
import { capabilitiesOf, fitSettings } from '../model-capabilities.ts'
import { type AttemptState, toBadReply, toVendorError } from '../vendor-error.ts'
import { type AnswerReader, type OutgoingRequest, toResponse } from './answer.ts'
import type { ChatDialect } from './dialect.ts'
import { toUsage } from './openai-usage.ts'
import { toStatedCostUsd } from './stated-cost.ts'
import { createThinkSplitter } from './think-tags.ts'

/** The request as Chat Completions takes it. */
export function toChatRequest(request: ModelRequest, streams: boolean, dialect: ChatDialect): OutgoingRequest {
  const { settings, notes } = fitSettings(request.model, request.settings)
  const { system, messages } = request
  const body: Record<string, unknown> = {
    ...dialect.extraBody,
    model: request.model,
    messages: system === undefined ? messages : [{ role: 'system', content: system }, ...messages],
  }
  if (settings.temperature !== undefined) body.temperature = settings.temperature
  if (settings.topP !== undefined) body.top_p = settings.topP
  if (settings.maxTokens !== undefined) body[maxTokensField(request.model, dialect)] = settings.maxTokens
  const stop = settings.stopSequences?.slice(0, dialect.maxStopSequences)
  if (stop?.length) body.stop = stop
  if (streams) {
    body.stream = true
    if (dialect.asksForStreamUsage) body.stream_options = { include_usage: true }
  }
  const allNotes = [...notes, ...addResponseFormat(body, request, dialect)]
  if (stop && settings.stopSequences && stop.length < settings.stopSequences.length) {
    allNotes.push(`stopSequences was cut to the first ${stop.length}: the provider accepts no more`)
  }
  return { path: '/chat/completions', body, notes: allNotes }
}

function maxTokensField(model: string, { maxTokensField }: ChatDialect): string {
  if (maxTokensField !== 'by-model') return maxTokensField
  return capabilitiesOf(model).reasoning ? 'max_completion_tokens' : 'max_tokens'
}

function addResponseFormat(body: Record<string, unknown>, request: ModelRequest, dialect: ChatDialect): readonly string[] {
  if (!request.outputSchema) return []
  const { structuredOutput } = dialect
  const knowsSchemas =
    structuredOutput instanceof RegExp ? structuredOutput.test(request.model) : structuredOutput === 'json_schema'
  const structured = toStructuredSchema(request.outputSchema)
  if (knowsSchemas && structured) {
    const { schema, strict } = structured
    body.response_format = { type: 'json_schema', json_schema: { name: 'answer', schema, strict } }
    return strict ? [] : ['outputSchema was sent without strict mode: it has parts that strict mode can not express']
  }
  // With json_object these vendors answer 400, or endless white space, unless the prompt itself speaks of JSON.
  if (structuredOutput !== 'none' && speaksOfJson(request)) {
    body.response_format = { type: 'json_object' }
    return ['outputSchema was sent as json_object: the provider has no schemas for this model']
  }
  return ['outputSchema was left out: the provider has no structured output for this model or schema']
}

const speaksOfJson = ({ system = '', messages }: ModelRequest) =>
  /json/i.test(system) || messages.some((message) => /json/i.test(message.content))

// A map: a vendor's word must not reach what every object inherits.
const FINISH_REASONS: ReadonlyMap<string, FinishReason> = new Map(
  Object.entries<FinishReason>({
    stop: 'stop',
    end_turn: 'stop',
    eos: 'stop',
    length: 'length',
    max_tokens: 'length',
    model_length: 'length',
    tool_calls: 'tool_calls',
    function_call: 'tool_calls',
    content_filter: 'content_filter',
    sensitive: 'content_filter',
    refusal: 'refusal',
  }),
)
/** Finish reasons that say the service failed: OpenRouter, DeepSeek, z.ai. */
const FAILURES = new Set(['error', 'insufficient_system_resource', 'network_error'])

/** Reads answers of Chat Completions. A whole answer and a piece of a stream differ only in `message` and `delta`. */
export function createChatReader(about: AttemptState & { readonly model: string }, dialect: ChatDialect): AnswerReader {
  const toolCalls: { id?: string; index: unknown; name: string; arguments: string }[] = []
  const thinking = dialect.thinkTags ? createThinkSplitter() : undefined
  let text = ''
  let refusal = ''
  let reasoningText = ''
  let model = ''
  let finish: string | undefined
  let usage: unknown
  let began = false

  function readEvent(event: unknown): string {
    if (!isRecord(event)) return ''
    const choice = findFirstChoice(event)
    readFacts(event, choice)
    const failed = event.error ? event : choice?.error ? choice : recordOf(event.x_groq)
    if (failed.error) throw toVendorError({ ...state(), body: failed })
    if (!choice) return ''
    began = true
    const piece = readMessage(recordOf(choice.delta ?? choice.message))
    const reason = textOf(choice.finish_reason)
    if (reason !== undefined) {
      finish = reason
      if (FAILURES.has(reason)) throw toVendorError({ ...state(), body: { code: reason } })
    }
    return piece
  }

  function readFacts(event: ForeignRecord, choice: ForeignRecord | undefined): void {
    if (!model) model = textOf(event.model) ?? ''
    // Usage can stand with the finish, after it, in the choice (Moonshot) or beside (Groq); chunks after it repeat it as null.
    const found = event.usage ?? choice?.usage ?? (event.x_groq ? recordOf(event.x_groq).usage : undefined)
    if (isRecord(found)) usage = found
  }

  function readMessage(message: ForeignRecord): string {
    const reasoning = textOf(message.reasoning_content) ?? textOf(message.reasoning)
    if (reasoning) reasoningText += reasoning
    else if (message.reasoning_details) reasoningText += toReasoningText(message.reasoning_details)
    if (typeof message.refusal === 'string') refusal += message.refusal
    if (message.tool_calls) for (const call of listOf(message.tool_calls)) readToolCall(recordOf(call))
    const { content } = message
    if (typeof content === 'string') return readText(content)
    return content ? listOf(content).map(readPart).join('') : ''
  }

  /** Mistral's thinking models send content as a list of parts. */
  function readPart(part: unknown): string {
    const { type, text: partText, thinking: thoughts, refusal: refused } = recordOf(part)
    if (type === 'thinking') {
      reasoningText +=
        typeof thoughts === 'string'
          ? thoughts
          : listOf(thoughts)
              .map((thought) => textOf(recordOf(thought).text) ?? '')
              .join('')
    }
    if (type === 'refusal') refusal += textOf(refused) ?? ''
    return (type === 'text' || type === 'output_text') && typeof partText === 'string' ? readText(partText) : ''
  }

  function readText(piece: string): string {
    if (!thinking) {
      text += piece
      return piece
    }
    return take(thinking.push(piece))
  }

  function take(split: { text: string; reasoning: string }): string {
    text += split.text
    reasoningText += split.reasoning
    return split.text
  }

  /** Fragments belong together by `index`; a new id at the same index is a further call (Gemini's and Mistral's servers). */
  function readToolCall(call: ForeignRecord): void {
    const { name, arguments: given } = recordOf(call.function ?? call.custom)
    const id = textOf(call.id)
    const part = typeof given === 'string' ? given : given === undefined || given === null ? '' : JSON.stringify(given)
    const known = toolCalls.findLast((other) => other.index === call.index && !(id && other.id && other.id !== id))
    if (known && (call.index !== undefined || !id)) {
      known.arguments += part
      if (!known.name) known.name = textOf(name) ?? ''
    } else {
      toolCalls.push({ ...(id && { id }), index: call.index, name: textOf(name) ?? '', arguments: part })
    }
  }

  function readWhole(reply: unknown): string {
    if (!isRecord(reply)) throw toBadReply(typeof reply === 'string' ? 'text' : 'no JSON object', state())
    if (listOf(reply.choices).length === 0) {
      const failed =
        reply.error || reply.object === 'error' || reply.statusCode || (reply.choices === undefined && textOf(reply.message))
      throw failed ? toVendorError({ ...state(), body: reply }) : toBadReply('an answer without choices', state())
    }
    const piece = readEvent(reply)
    if (!isRecord(findFirstChoice(reply)?.message)) throw toBadReply('a choice without a message', state())
    const says = text || refusal || reasoningText || toolCalls.length > 0
    if (finish === undefined && !says) throw toBadReply('a choice with neither content nor a finish reason', state())
    finish ??= 'unknown'
    return piece
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
    readWhole,
    readEvent,
    isFinished: () => finish !== undefined,
    isClosed: () => false,
    state,
    endText: () => (thinking ? take(thinking.end()) : ''),
    toResponse: (notes) =>
      toResponse({
        text,
        refusal,
        reasoningText,
        toolCalls: toolCalls.map(({ index: _, ...call }): ToolCall => call),
        finishReason: FINISH_REASONS.get(finish ?? '') ?? 'other',
        model: model || about.model,
        usage: toUsage(usage),
        providerCostUsd: toStatedCostUsd(usage),
        notes,
      }),
  }
}

/** Of several candidates only the first is the answer. */
function findFirstChoice({ choices }: ForeignRecord): ForeignRecord | undefined {
  if (!Array.isArray(choices)) return undefined
  const [first] = choices
  if (isRecord(first) && !first.index) return first
  return choices.find((choice) => isRecord(choice) && choice.index === 0)
}

const toReasoningText = (details: unknown) =>
  listOf(details)
    .map((detail) => textOf(recordOf(detail).text) ?? textOf(recordOf(detail).summary) ?? '')
    .join('')
