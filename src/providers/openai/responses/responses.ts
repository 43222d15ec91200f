import { type ForeignRecord, isRecord, listOf, recordOf, textOf } from '../../vendor/foreign-json.ts'
import { type AttemptState, toBadReply, toVendorError } from '../../vendor/vendor-error.ts'
import { saysFailure } from '../../vendor/vendor-words.ts'
import { createDroppedKinds, type DroppedKinds, type ReaderHooks, type StreamedAnswer, toModelResponse } from '../answer.ts'
import { toUsableGeneration } from '../chat-failure.ts'
import type { ChatDialect } from '../dialect.ts'
import { toFinishReason } from '../finish-reasons.ts'
import { toUsage } from '../openai-usage.ts'
import { addSearchResults, createSourceList, type SourceList } from '../sources.ts'
import { toStatedCostUsd } from '../stated-cost.ts'
import { createThinkSplitter, opensInPrompt, type ThinkSplit } from '../think-tags.ts'
import { toFile, toHostedCallNotes, toReturnedItems, toToolCall } from './output-items.ts'

/**
 * Reads answers of the Responses API. Messages of the phase `commentary` precede the final answer. They are added to
 * the reasoning, unless there is no other message.
 */
export function createResponsesReader(
  initial: AttemptState & { readonly model: string },
  { thinkTags }: Pick<ChatDialect, 'thinkTags'>,
  { onReasoning, onVoid }: ReaderHooks = {},
): StreamedAnswer {
  let final: ForeignRecord | undefined
  const thinking = thinkTags ? createThinkSplitter({ isOpenInPrompt: opensInPrompt(initial.model) }) : undefined
  /** Text as received, including reasoning between marks. */
  let content = ''
  let text = ''
  let thoughts = ''
  let model = ''
  let usage: unknown
  let hasStarted = false
  const notes: string[] = []
  const items: unknown[] = []
  /** Ids and indices of commentary messages. */
  const commentary = new Set<unknown>()

  function readEvent(event: unknown): string {
    if (!isRecord(event)) return ''
    const type = textOf(event.type) ?? ''
    if (type === 'response.output_text.delta') return readDelta(event, textOf(event.delta) ?? '')
    if (type === 'response.reasoning_summary_text.delta' || type === 'response.reasoning_text.delta') {
      hasStarted = true
      if (typeof event.delta === 'string') onReasoning?.(event.delta)
      return ''
    }
    if (type === 'error' || event.error || event.object === 'error' || (type === '' && saysFailure(event)))
      return readFailure(event)
    if (type === 'response.output_item.added' || type === 'response.output_item.done') readItem(event, type)
    if (!isRecord(event.response)) return ''
    if (!model) model = textOf(event.response.model) ?? ''
    if (type === 'response.completed' || type === 'response.incomplete' || type === 'response.failed')
      return finishWith(event.response)
    return ''
  }

  function readDelta(event: ForeignRecord, delta: string): string {
    hasStarted = true
    if (commentary.size > 0 && (commentary.has(event.item_id) || commentary.has(event.output_index))) {
      onReasoning?.(delta)
      return ''
    }
    return readText(delta)
  }

  function readText(chunk: string): string {
    content += chunk
    if (thinking) return take(thinking.push(chunk))
    text += chunk
    return chunk
  }

  function take(split: ThinkSplit): string {
    if (split.isVoid) {
      text = ''
      onVoid?.()
    } else if (split.reasoning !== '') onReasoning?.(split.reasoning)
    thoughts += split.reasoning
    text += split.text
    return split.text
  }

  function readItem({ item, output_index }: ForeignRecord, type: string): void {
    if (type === 'response.output_item.done') items.push(item)
    else if (isCommentary(item)) {
      commentary.add(output_index ?? recordOf(item).id)
      const { id } = recordOf(item)
      if (id !== undefined) commentary.add(id)
    }
  }

  /** Uses generated text that the vendor returned as an error (Groq), if it is complete and no text was streamed. */
  function readFailure(event: ForeignRecord): string {
    const { type: _, ...words } = event
    const generation = content === '' ? toUsableGeneration(event) : undefined
    if (generation === undefined) throw toVendorError({ ...state(), body: words })
    notes.push('the provider rejected the JSON of its model; it was used unchanged')
    final = {}
    return readText(generation)
  }

  /** The last event repeats the whole answer. Returns the part of its text that was not streamed. */
  function finishWith(response: ForeignRecord): string {
    readWhole(response, items)
    const output = outputOf(response)
    const whole = toText(output)
    if (whole.startsWith(content)) return readText(whole.slice(content.length))
    if (whole !== '' && output.some(isCommentary)) {
      // The streamed text turns out to be commentary.
      onVoid?.()
      text = whole
      return whole
    }
    if (whole !== '') notes.push('the streamed text differs from the final answer; the streamed text is kept')
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
      throw textOf(reply.message) || saysFailure(reply)
        ? toVendorError({ ...state(), body: reply })
        : toBadReply('an answer without output', state())
    }
    const status = textOf(reply.status) ?? 'completed'
    if (status !== 'completed' && status !== 'incomplete')
      throw toBadReply(`an answer of the status ${status.slice(0, 20)}`, state())
    final = reply
    if (fallbackItems) return ''
    return readText(toText(listOf(reply.output)))
  }

  /** Some compatible servers send their last event with an empty output. */
  const outputOf = (response: ForeignRecord) => {
    const output = listOf(response.output)
    return output.length > 0 ? output : items
  }

  function state(): AttemptState {
    return {
      ...initial,
      model: model || initial.model,
      usage: usage ? toUsage(usage) : undefined,
      generated: initial.generated || hasStarted,
    }
  }

  return {
    readWhole: (reply) => readWhole(reply),
    readEvent,
    isFinished: () => final !== undefined,
    isClosed: () => final !== undefined,
    state,
    endText: () => (thinking ? take(thinking.end()) : ''),
    toModelResponse(requestNotes) {
      const response = final ?? {}
      const output = outputOf(response)
      const isIncomplete = response.status === 'incomplete'
      const reason = isIncomplete ? toFinishReason(textOf(recordOf(response.incomplete_details).reason) ?? '') : 'stop'
      const sources = createSourceList()
      const dropped = createDroppedKinds()
      addSources(sources, response, output)
      const toolCalls = output.map(toToolCall).filter((call) => call !== undefined)
      const blocks = toolCalls.length > 0 ? toReturnedItems(output) : undefined
      addDropped(dropped, output, blocks !== undefined)
      const hasCommentary = answersOf(output).length < output.filter(isMessage).length
      return toModelResponse({
        text,
        refusal: output
          .filter(isMessage)
          .flatMap((item) => fieldsOf(item, 'refusal'))
          .join(''),
        reasoningText: toReasoningText(output) + thoughts,
        toolCalls,
        vendorTurn: blocks && { provider: initial.provider, model: initial.model, blocks },
        sources: sources.list(),
        files: output.flatMap(toFile),
        finishReason: reason === 'failed' ? 'other' : reason,
        model: model || initial.model,
        usage: toUsage(usage),
        providerCostUsd: toStatedCostUsd(usage, response.cost),
        serviceTier: textOf(response.service_tier),
        notes: [
          ...requestNotes,
          ...notes,
          ...(hasCommentary ? [COMMENTARY_NOTE] : NO_NOTES),
          ...dropped.notes(),
          ...toHostedCallNotes(output),
        ],
      })
    },
  }
}

const NO_NOTES: readonly string[] = []
const COMMENTARY_NOTE = 'commentary of the model before its final answer was added to the reasoning'

const isMessage = (item: unknown): boolean => recordOf(item).type === 'message'
const isCommentary = (item: unknown): boolean => isMessage(item) && recordOf(item).phase === 'commentary'

/** The messages of the answer: all but commentary, or all if the others are empty. */
function answersOf(output: readonly unknown[]): readonly unknown[] {
  const messages = output.filter(isMessage)
  const answers = messages.filter((item) => !isCommentary(item))
  return answers.some((item) => fieldsOf(item, 'text').length > 0 || fieldsOf(item, 'refusal').length > 0) ? answers : messages
}

const toText = (output: readonly unknown[]) =>
  answersOf(output)
    .flatMap((item) => fieldsOf(item, 'text'))
    .join('')

const fieldsOf = (item: unknown, field: 'text' | 'refusal'): readonly string[] =>
  listOf(recordOf(item).content)
    .map((part) => textOf(recordOf(part)[field]))
    .filter((part) => part !== undefined)

/** Reasoning is sent as a summary (OpenAI, xAI) or in full (open models), interleaved with commentary. */
function toReasoningText(output: readonly unknown[]): string {
  const answers = answersOf(output)
  return output
    .filter((item) => recordOf(item).type === 'reasoning' || (isCommentary(item) && !answers.includes(item)))
    .map(recordOf)
    .flatMap((item) => (listOf(item.content).length > 0 ? listOf(item.content) : listOf(item.summary)))
    .map((part) => textOf(recordOf(part).text) ?? '')
    .join('')
}

/** Annotations belong to a part of the text. Results of hosted searches are separate items. */
function addSources(sources: SourceList, response: ForeignRecord, output: readonly unknown[]): void {
  addSearchResults(sources, response, NO_MESSAGE)
  const answers = answersOf(output)
  let offset = 0
  for (const item of output) {
    const { results, action } = recordOf(item)
    sources.add('search_result', recordOf(action).sources)
    sources.add('search_result', results)
    if (!answers.includes(item)) continue
    for (const part of listOf(recordOf(item).content)) {
      const { text, annotations } = recordOf(part)
      sources.add('annotation', annotations, offset)
      offset += typeof text === 'string' ? text.length : 0
    }
  }
}

const NO_MESSAGE: ForeignRecord = {}

/** `isReturned`: whether the items go back with the results of tool calls, so that encrypted reasoning is kept. */
function addDropped(dropped: DroppedKinds, output: readonly unknown[], isReturned: boolean): void {
  for (const item of output.map(recordOf)) {
    if (typeof item.type === 'string' && !(item.type === 'image_generation_call' && item.result)) dropped.add(item.type)
    if (!isReturned) dropped.addFields(item, ['encrypted_content'])
    dropped.addFields(item, ['content_filters', 'content_filter_results'])
    for (const part of listOf(item.content).map(recordOf)) {
      if (typeof part.type === 'string') dropped.add(part.type)
      dropped.addFields(part, ['logprobs'])
    }
  }
}
