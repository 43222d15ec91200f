import type { VendorTurn } from '../../../domain/execution/model-call.ts'
import { type ForeignRecord, isRecord, listOf, recordOf, textOf } from '../../vendor/foreign-json.ts'
import { type AttemptState, toBadReply, toVendorError } from '../../vendor/vendor-error.ts'
import { createDroppedKinds, type ReaderHooks, type StreamedAnswer, toModelResponse } from '../answer.ts'
import { toUsableGeneration } from '../chat-failure.ts'
import type { ChatDialect } from '../dialect.ts'
import { toFinishReason } from '../finish-reasons.ts'
import { createMediaReader, type MediaReader } from '../generated-media.ts'
import { toUsage } from '../openai-usage.ts'
import { addSearchResults, createSourceList } from '../sources.ts'
import { toStatedCostUsd } from '../stated-cost.ts'
import { createThinkSplitter, opensInPrompt, type ThinkSplit } from '../think-tags.ts'
import { findFailure, findFirstChoice, hasFiltered, isTextType, toContentText } from './chat-events.ts'
import { createReturnedTurn, holdsReasoning, type ReturnedTurn } from './returned-turn.ts'
import { createToolCallReader, type ToolCallReader } from './tool-calls.ts'

const DROPPED_OF_ANSWERS = ['prompt_filter_results', 'related_questions']
const DROPPED_OF_CHOICES = ['logprobs', 'content_filter_results', 'content_filters']
const DROPPED_OF_MESSAGES = ['executed_tools', 'signature', 'reasoning_signature']

const NO_DETAILS: readonly ForeignRecord[] = []

/** Reads answers of Chat Completions. A plain answer has `message` where a chunk of a stream has `delta`. */
export function createChatReader(
  initial: AttemptState & { readonly model: string },
  dialect: ChatDialect,
  { onReasoning, onVoid }: ReaderHooks = {},
): StreamedAnswer {
  const sources = createSourceList()
  const dropped = createDroppedKinds()
  /** Readers that most answers do without. */
  let toolCalls: ToolCallReader | undefined
  let media: MediaReader | undefined
  let turn: ReturnedTurn | undefined
  /** Kinds of reasoning that are dropped unless the turn goes back with them. */
  let signed: Set<string> | undefined
  const thinking = dialect.thinkTags ? createThinkSplitter({ isOpenInPrompt: opensInPrompt(initial.model) }) : undefined
  const notes: string[] = []
  /** Content as received, including reasoning between marks. */
  let content = ''
  let text = ''
  let refusal = ''
  let reasoningText = ''
  let model = ''
  let finish: string | undefined
  let usage: unknown
  let charge: unknown
  let serviceTier: string | undefined
  let hasStarted = false
  /** Whether a `delta` has arrived. A `message` beside or after it then repeats its text. */
  let hasDeltas = false
  /** Whether the vendor's filter reports removed content. */
  let isFiltered = false

  function readEvent(event: unknown): string {
    if (!isRecord(event)) return ''
    const choice = findFirstChoice(event)
    readFacts(event, choice)
    const failed = findFailure(event, choice)
    if (failed) return readFailure(failed)
    if (!choice) {
      // The prompt was filtered, and there is no answer.
      if (isFiltered) finish ??= 'content_filter'
      return ''
    }
    hasStarted = true
    const added = readChoice(event, choice)
    const reason = textOf(choice.finish_reason)
    if (reason === undefined) return added
    finish = reason
    if (toFinishReason(reason) === 'failed') {
      throw toVendorError({ ...state(), body: { code: reason, message: `it ended with the finish reason "${reason}"` } })
    }
    return added
  }

  function readFacts(event: ForeignRecord, choice: ForeignRecord | undefined): void {
    if (!model) model = textOf(event.model) ?? ''
    // Usage comes with or after the finish reason, in the choice (Moonshot) or beside it (Groq). Later chunks may
    // repeat it as null.
    const found = event.usage ?? choice?.usage ?? (event.x_groq ? recordOf(event.x_groq).usage : undefined)
    if (isRecord(found)) usage = found
    if (event.cost !== undefined) charge = event.cost
    serviceTier = textOf(event.service_tier) ?? textOf(recordOf(found).service_tier) ?? serviceTier
    dropped.addFields(event, DROPPED_OF_ANSWERS)
    isFiltered ||= event.prompt_filter_results !== undefined && hasFiltered(event.prompt_filter_results)
    isFiltered ||= choice?.content_filter_results !== undefined && hasFiltered(choice.content_filter_results)
  }

  /**
   * Uses generated text that the vendor returned as an error (Groq), if it is complete and extends the streamed text.
   */
  function readFailure(failed: ForeignRecord): string {
    const generation = toUsableGeneration(failed)
    if (generation === undefined || !generation.startsWith(content)) throw toVendorError({ ...state(), body: failed })
    notes.push('the provider rejected the JSON of its model; it was used unchanged')
    finish = 'stop'
    hasStarted = true
    return readText(generation.slice(content.length))
  }

  function readChoice(event: ForeignRecord, choice: ForeignRecord): string {
    const delta = recordOf(choice.delta)
    const message = recordOf(choice.message)
    dropped.addFields(choice, DROPPED_OF_CHOICES)
    addSearchResults(sources, event, choice.delta ? delta : message)
    if (choice.delta && choice.message) addSearchResults(sources, event, message)
    let added = choice.delta ? readMessage(delta, false) : ''
    hasDeltas ||= toContentText(delta.content) !== ''
    if (choice.message) added += readWholeMessage(message, choice)
    else if (!choice.delta && typeof choice.text === 'string') added += readText(choice.text)
    return added
  }

  /**
   * A `message` holds the whole answer so far in streams with `delta` (Perplexity), and one chunk in streams without.
   */
  function readWholeMessage(message: ForeignRecord, choice: ForeignRecord): string {
    if (content === '') return readMessage(message, true)
    const whole = toContentText(message.content)
    const isRepeated = whole.startsWith(content) && (whole.length > content.length || typeof choice.finish_reason === 'string')
    if (!hasDeltas && !choice.delta && !isRepeated) return readMessage(message, false)
    return readMessage({ ...message, content: whole.startsWith(content) ? whole.slice(content.length) : '' }, true)
  }

  /** `isWhole`: whether the message holds the whole answer, so that fields already read are skipped. */
  function readMessage(message: ForeignRecord, isWhole: boolean): string {
    readReasoning(message, isWhole)
    if (typeof message.refusal === 'string' && !(isWhole && refusal !== '')) refusal += message.refusal
    if ((message.tool_calls || message.function_call) && !(isWhole && hasToolCalls())) {
      toolCalls ??= createToolCallReader()
      toolCalls.read(message)
    }
    dropped.addFields(message, DROPPED_OF_MESSAGES)
    if (message.images || message.audio) {
      media ??= createMediaReader()
      for (const kind of media.readMessage(message, isWhole)) dropped.add(kind)
    }
    const { content: given } = message
    if (typeof given === 'string' && given !== '') return readText(given)
    const added = given ? (isRecord(given) ? [given] : listOf(given)).map(readPart).join('') : ''
    // The text of an audio answer is its transcript.
    return added === '' && isRecord(message.audio) && typeof message.audio.transcript === 'string' && !(isWhole && content !== '')
      ? readText(message.audio.transcript)
      : added
  }

  function readReasoning(message: ForeignRecord, isWhole: boolean): void {
    // A whole message after a stream repeats what its chunks held.
    if (!(isWhole && reasoningText !== '') && holdsReasoning(message)) {
      turn ??= createReturnedTurn(dialect)
      turn.read(message)
    }
    const details = message.reasoning_details ? listOf(message.reasoning_details).map(recordOf) : NO_DETAILS
    for (const { type, signature } of details) {
      if (signature) signed = (signed ?? new Set()).add('signature')
      if (typeof type === 'string') signed = (signed ?? new Set()).add(type)
    }
    const thought =
      textOf(message.reasoning_content) ??
      textOf(message.reasoning) ??
      textOf(message.thinking) ??
      (details.length === 0 ? '' : details.map((detail) => textOf(detail.text) ?? textOf(detail.summary) ?? '').join(''))
    if (!isWhole || reasoningText === '') think(thought)
    else if (thought.startsWith(reasoningText)) think(thought.slice(reasoningText.length))
  }

  function think(thought: string): void {
    if (thought === '') return
    reasoningText += thought
    onReasoning?.(thought)
  }

  /** Mistral's thinking models send content as a list of parts. */
  function readPart(part: unknown): string {
    if (typeof part === 'string') return readText(part)
    const { type, text: partText, thinking: thoughts, reasoning, refusal: refused, annotations } = recordOf(part)
    if (type === 'thinking' || type === 'reasoning') {
      const given = thoughts ?? reasoning ?? partText
      think(typeof given === 'string' ? given : toContentText(given))
      return ''
    }
    if (type === 'refusal') refusal += textOf(refused) ?? ''
    if (annotations) sources.add('annotation', annotations)
    if (typeof partText === 'string' && isTextType(type)) return readText(partText)
    media ??= createMediaReader()
    if (typeof type === 'string' && !media.readPart(recordOf(part))) dropped.add(type)
    return ''
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
      reasoningText += split.reasoning
    } else think(split.reasoning)
    text += split.text
    return split.text
  }

  function readWhole(reply: unknown): string {
    if (!isRecord(reply)) throw toBadReply(typeof reply === 'string' ? 'text' : 'no JSON object', state())
    if (listOf(reply.choices).length === 0) {
      readFacts(reply, undefined)
      if (isFiltered) return readEvent(reply)
      const failed =
        findFailure(reply, undefined) ??
        (reply.statusCode || (reply.choices === undefined && textOf(reply.message)) ? reply : undefined)
      throw failed ? toVendorError({ ...state(), body: failed }) : toBadReply('an answer without choices', state())
    }
    if (listOf(reply.choices).length > 1) dropped.add('candidates')
    const added = readEvent(reply)
    const choice = findFirstChoice(reply)
    const hasMessage = isRecord(choice?.message) || isRecord(choice?.delta) || typeof choice?.text === 'string'
    if (!hasMessage && content === '' && !isFiltered && toFinishReason(finish ?? '') !== 'content_filter')
      throw toBadReply('a choice without a message', state())
    const hasContent = content || refusal || reasoningText || hasToolCalls()
    if (finish === undefined && !hasContent) throw toBadReply('a choice with neither content nor a finish reason', state())
    finish ??= 'unknown'
    return added
  }

  const hasToolCalls = () => toolCalls !== undefined && !toolCalls.isEmpty()

  function state(): AttemptState {
    return {
      ...initial,
      model: model || initial.model,
      usage: usage ? toUsage(usage) : undefined,
      generated: initial.generated || hasStarted,
    }
  }

  function toVendorTurn(): VendorTurn | undefined {
    if (!toolCalls || toolCalls.isEmpty()) return undefined
    const calls = toolCalls.list()
    const plainCalls = calls.map(({ id, name, arguments: given }) => ({
      id,
      type: 'function',
      function: { name, arguments: given },
    }))
    turn ??= createReturnedTurn(dialect)
    const block = turn.toBlock({ text, reasoningText, plainCalls, signedCalls: toolCalls.listWithExtras() })
    return block && { provider: initial.provider, model: initial.model, blocks: [block] }
  }

  return {
    readWhole,
    readEvent,
    isFinished: () => finish !== undefined,
    isClosed: () => false,
    state,
    endText: () => (thinking ? take(thinking.end()) : ''),
    toModelResponse(requestNotes) {
      const reason = toFinishReason(finish ?? '')
      const vendorTurn = toVendorTurn()
      if (!vendorTurn) for (const kind of signed ?? []) dropped.add(kind)
      const finishReason = reason === 'failed' ? 'other' : isFiltered && text === '' ? 'content_filter' : reason
      return toModelResponse({
        text,
        refusal,
        reasoningText,
        toolCalls: toolCalls?.list() ?? [],
        vendorTurn,
        sources: sources.list(),
        files: media?.list() ?? [],
        finishReason,
        model: model || initial.model,
        usage: toUsage(usage),
        providerCostUsd: toStatedCostUsd(usage, charge),
        serviceTier,
        notes: [...requestNotes, ...notes, ...dropped.notes()],
      })
    },
  }
}
