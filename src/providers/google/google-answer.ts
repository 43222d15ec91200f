import type { FinishReason, GeneratedFile, ModelRequest, ToolCall } from '../../domain/execution/model-call.ts'
import type { GenerateOptions } from '../provider.ts'
import { type ForeignRecord, listOf, recordOf, textOf, wordMap } from '../vendor/foreign-json.ts'
import type { AnswerCollector } from '../vendor/http-provider.ts'
import { type AttemptState, toBadReply, toContentFiltered, toVendorError } from '../vendor/vendor-error.ts'
import { saysFailure } from '../vendor/vendor-words.ts'
import { createGoogleParts } from './google-parts.ts'
import { createGoogleSources } from './google-sources.ts'
import { createGoogleUsage } from './google-usage.ts'

/**
 * Values of `finishReason` (ai.google.dev/api/generate-content and Vertex AI, November 2026). Function calls end with
 * STOP; other servers of this protocol write FUNCTION_CALL.
 */
const FINISH = wordMap<FinishReason>({
  STOP: 'stop',
  FUNCTION_CALL: 'tool_calls',
  MAX_TOKENS: 'length',
  CONTINUATION: 'length',
})

/** Finish reasons that ours fully expresses. Others are reported in a note. */
const EXPLAINED_REASONS: ReadonlySet<string> = new Set(['STOP', 'FUNCTION_CALL', 'MAX_TOKENS'])

/**
 * Known filters are SAFETY, IMAGE_SAFETY, PROHIBITED_CONTENT, BLOCKLIST, RECITATION, SPII, MODEL_ARMOR, JAILBREAK.
 * The pattern also matches variants of them.
 */
const FILTER = /SAFETY|PROHIBITED|BLOCK|RECITATION|SPII|ARMOR|JAILBREAK/

/**
 * All other values (OTHER, LANGUAGE, NO_IMAGE, MALFORMED_FUNCTION_CALL, UNEXPECTED_TOOL_CALL, …) are failures of the
 * model or the service.
 */
const toFinish = (word: string): FinishReason => FINISH.get(word) ?? (FILTER.test(word) ? 'content_filter' : 'other')

/** Fields of a part that are read or only describe it. Others are reported as left out. */
const READ_FIELDS: ReadonlySet<string> = new Set([
  'text',
  'thought',
  'functionCall',
  'thoughtSignature',
  'partMetadata',
  'videoMetadata',
  'mediaResolution',
])

/** The model wrote a call that is not valid, or of a tool that it does not have. Another attempt often succeeds. */
const BROKEN_CALL: ReadonlySet<string> = new Set(['MALFORMED_FUNCTION_CALL', 'UNEXPECTED_TOOL_CALL'])

/** The candidate with index 0. Chunks of a stream may list another candidate first. */
const firstCandidate = (chunk: ForeignRecord): ForeignRecord =>
  listOf(chunk.candidates)
    .map(recordOf)
    .find(({ index = 0 }) => index === 0) ?? {}

/** Collects one answer of the Gemini API, plain or streamed. */
export function createGoogleAnswer(
  { model: requestedModel, tools }: Pick<ModelRequest, 'model' | 'tools'>,
  provider: string,
  requestNotes: readonly string[],
  { onDelta, onReasoning }: Pick<GenerateOptions, 'onDelta' | 'onReasoning'>,
): AnswerCollector {
  const usage = createGoogleUsage()
  const sources = createGoogleSources()
  const parts = createGoogleParts()
  const toolCalls: ToolCall[] = []
  const files: GeneratedFile[] = []
  const leftOut = new Set<string>()
  let text = ''
  let reasoning = ''
  let model: string | undefined
  let finish: string | undefined
  let blocked: string | undefined
  let serviceTier: string | undefined
  let hasStarted = false

  function addText(chunk: string, isThought: boolean) {
    if (chunk === '') return
    if (isThought) {
      reasoning += chunk
      onReasoning?.(chunk)
    } else {
      text += chunk
      onDelta?.(chunk)
    }
  }

  function addPart(part: ForeignRecord) {
    const isThought = part.thought === true
    parts.add(part, isThought ? reasoning.length : text.length)
    addText(textOf(part.text) ?? '', isThought)
    const call = recordOf(part.functionCall)
    const name = textOf(call.name)
    if (name)
      toolCalls.push({ ...(textOf(call.id) && { id: textOf(call.id) }), name, arguments: JSON.stringify(call.args ?? {}) })
    // Pictures among the thoughts are drafts.
    const file = isThought ? undefined : toFile(recordOf(part.inlineData))
    if (file) files.push(file)
    for (const field in part) if (!READ_FIELDS.has(field) && !(file && field === 'inlineData')) leftOut.add(field)
  }

  function addCandidate(candidate: ForeignRecord) {
    for (const part of listOf(recordOf(candidate.content).parts)) addPart(recordOf(part))
    sources.add(candidate)
    const reason = textOf(candidate.finishReason)
    if (reason && reason !== 'FINISH_REASON_UNSPECIFIED') finish = reason
  }

  function checkCalls(state: () => AttemptState) {
    if (tools && toolCalls.length === 0 && BROKEN_CALL.has(finish ?? ''))
      throw toBadReply(`a tool call that is not valid (${finish})`, state())
  }

  function addEvent(chunk: ForeignRecord, state: () => AttemptState): false {
    if (chunk.error || (!chunk.candidates && !chunk.usageMetadata && saysFailure(chunk)))
      throw toVendorError({ ...state(), body: chunk })
    hasStarted ||= chunk.candidates !== undefined || chunk.usageMetadata !== undefined
    model = textOf(chunk.modelVersion)?.replace(/^models\//, '') ?? model
    const counts = recordOf(chunk.usageMetadata)
    usage.add(counts)
    serviceTier = textOf(counts.serviceTier) ?? textOf(counts.trafficType) ?? serviceTier
    addCandidate(firstCandidate(chunk))
    const reason = textOf(recordOf(chunk.promptFeedback).blockReason)
    if (reason && !/UNSPECIFIED$/.test(reason)) blocked = reason
    if (blocked && text === '' && toolCalls.length === 0) throw toContentFiltered(blocked, state())
    checkCalls(state)
    // Usage may come after the finish reason, and there is no other end mark, so the stream is read to its end.
    return false
  }

  function toFinishReason(): FinishReason {
    if (blocked) return 'content_filter'
    const reason = toFinish(finish ?? '')
    return reason === 'stop' && toolCalls.length > 0 ? 'tool_calls' : reason
  }

  const notes = (): readonly string[] => [
    ...requestNotes,
    ...(leftOut.size > 0 ? [`parts of the answer were left out: ${[...leftOut].join(', ')}`] : []),
    ...sources.notes(),
    ...(blocked ? [`Gemini blocked the answer: ${blocked}`] : []),
    ...(EXPLAINED_REASONS.has(finish ?? '') ? [] : [`Gemini finished with ${finish ?? 'no reason'}`]),
  ]

  return {
    addEvent,
    isWhole: () => finish !== undefined || blocked !== undefined,
    known: () => (hasStarted ? { usage: usage.total(), model, generated: true } : { generated: false }),
    addWhole(parsed, state) {
      // Without `alt=sse` a stream is one JSON array of its chunks.
      const chunks = Array.isArray(parsed) ? parsed.map(recordOf) : [recordOf(parsed)]
      for (const chunk of chunks) addEvent(chunk, state)
      if (!finish && text === '' && toolCalls.length + files.length === 0) throw toBadReply('JSON without a candidate', state())
    },
    response() {
      const found = sources.list(text)
      return {
        text,
        ...(reasoning && { reasoningText: reasoning }),
        ...(toolCalls.length > 0 && {
          toolCalls,
          // Calls and thoughts may be signed, and must come back unchanged with the results.
          vendorTurn: { provider, model: requestedModel, blocks: parts.list(text, reasoning) },
        }),
        ...(files.length > 0 && { files }),
        ...(found.length > 0 && { sources: found }),
        finishReason: toFinishReason(),
        model: model ?? requestedModel,
        usage: usage.total(),
        ...(serviceTier && { serviceTier }),
        notes: notes(),
      }
    },
  }
}

/** A file from its base64 form. */
function toFile({ mimeType, data }: ForeignRecord): GeneratedFile | undefined {
  const mediaType = textOf(mimeType)
  const base64 = textOf(data)
  return mediaType && base64 ? { mediaType, data: Buffer.from(base64, 'base64') } : undefined
}
