import type { FinishReason, ToolCall } from '../../domain/execution/model-call.ts'
import type { GenerateOptions } from '../provider.ts'
import { type ForeignRecord, listOf, recordOf, textOf, wordMap } from '../vendor/foreign-json.ts'
import type { AnswerCollector } from '../vendor/http-provider.ts'
import { type AttemptState, toBadReply, toContentFiltered, toVendorError } from '../vendor/vendor-error.ts'
import { saysFailure } from '../vendor/vendor-words.ts'
import { createGoogleSources } from './google-sources.ts'
import { createGoogleUsage } from './google-usage.ts'

/**
 * Values of `finishReason` (ai.google.dev/api/generate-content and Vertex AI, November 2026). Function calls end with
 * STOP.
 */
const FINISH = wordMap<FinishReason>({ STOP: 'stop', MAX_TOKENS: 'length', CONTINUATION: 'length' })

/**
 * Known filters are SAFETY, IMAGE_SAFETY, PROHIBITED_CONTENT, BLOCKLIST, RECITATION, SPII, MODEL_ARMOR, JAILBREAK. The
 * pattern also matches variants of them.
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
  'partMetadata',
  'videoMetadata',
  'mediaResolution',
])

/** The candidate with index 0. Chunks of a stream may list another candidate first. */
const firstCandidate = (chunk: ForeignRecord): ForeignRecord =>
  listOf(chunk.candidates)
    .map(recordOf)
    .find(({ index = 0 }) => index === 0) ?? {}

/** Collects one answer of the Gemini API, plain or streamed. */
export function createGoogleAnswer(
  requestedModel: string,
  requestNotes: readonly string[],
  { onDelta, onReasoning }: Pick<GenerateOptions, 'onDelta' | 'onReasoning'>,
): AnswerCollector {
  const usage = createGoogleUsage()
  const sources = createGoogleSources()
  const toolCalls: ToolCall[] = []
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
    addText(textOf(part.text) ?? '', part.thought === true)
    const call = recordOf(part.functionCall)
    const name = textOf(call.name)
    if (name)
      toolCalls.push({ ...(textOf(call.id) && { id: textOf(call.id) }), name, arguments: JSON.stringify(call.args ?? {}) })
    for (const field in part) if (!READ_FIELDS.has(field)) leftOut.add(field)
  }

  function addCandidate(candidate: ForeignRecord) {
    for (const part of listOf(recordOf(candidate.content).parts)) addPart(recordOf(part))
    sources.add(candidate)
    const reason = textOf(candidate.finishReason)
    if (reason && reason !== 'FINISH_REASON_UNSPECIFIED') finish = reason
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
    ...(finish === 'STOP' || finish === 'MAX_TOKENS' ? [] : [`Gemini finished with ${finish ?? 'no reason'}`]),
  ]

  return {
    addEvent,
    isWhole: () => finish !== undefined || blocked !== undefined,
    known: () => (hasStarted ? { usage: usage.total(), model, generated: true } : { generated: false }),
    addWhole(parsed, state) {
      // Without `alt=sse` a stream is one JSON array of its chunks.
      const chunks = Array.isArray(parsed) ? parsed.map(recordOf) : [recordOf(parsed)]
      for (const chunk of chunks) addEvent(chunk, state)
      if (!finish && text === '' && toolCalls.length === 0) throw toBadReply('JSON without a candidate', state())
    },
    response() {
      const found = sources.list(text)
      return {
        text,
        ...(reasoning && { reasoningText: reasoning }),
        ...(toolCalls.length > 0 && { toolCalls }),
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
