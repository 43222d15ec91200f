import type { FinishReason, ModelRequest } from '../../domain/execution/model-call.ts'
import type { GenerateOptions } from '../provider.ts'
import { countOf, type ForeignRecord, listOf, recordOf, textOf, wordMap } from '../vendor/foreign-json.ts'
import type { AnswerCollector } from '../vendor/http-provider.ts'
import { toBadReply, toVendorError } from '../vendor/vendor-error.ts'
import { saysFailure } from '../vendor/vendor-words.ts'
import { createAnthropicBlocks } from './anthropic-blocks.ts'
import { createAnthropicSources } from './anthropic-sources.ts'
import { createAnthropicUsage } from './anthropic-usage.ts'

/** Stop reasons of the Messages API and its beta (SDK 1.10.0, November 2026). */
const FINISH = wordMap<FinishReason>({
  end_turn: 'stop',
  stop_sequence: 'stop',
  max_tokens: 'length',
  model_context_window_exceeded: 'length',
  tool_use: 'tool_calls',
  refusal: 'refusal',
})

/** Stop reasons that our finish reason fully expresses. Others are reported in a note. */
const EXPLAINED: ReadonlySet<string> = new Set(['end_turn', 'stop_sequence', 'max_tokens', 'tool_use', 'refusal'])

/** Blocks that hold nothing to read: calls, which are listed separately, and encrypted reasoning. */
const KEPT: ReadonlySet<string> = new Set(['tool_use', 'redacted_thinking'])

/** The stop reason of an answer that continues when it is sent back: tools of Anthropic have run for long. */
const PAUSED = 'pause_turn'

/** Collects one answer of the Messages API, plain or streamed. */
export function createAnthropicAnswer(
  { model: requestedModel }: Pick<ModelRequest, 'model'>,
  provider: string,
  requestNotes: readonly string[],
  { onDelta, onReasoning }: Pick<GenerateOptions, 'onDelta' | 'onReasoning'>,
): AnswerCollector {
  const usage = createAnthropicUsage()
  const sources = createAnthropicSources()
  const blocks = createAnthropicBlocks()
  const leftOut = new Set<string>()
  let text = ''
  let reasoning = ''
  let model: string | undefined
  let stopReason: string | undefined
  let refusal: string | undefined
  let hasStarted = false
  let stopped = false
  let ended = false

  function addText(chunk: string) {
    if (!chunk) return
    text += chunk
    onDelta?.(chunk)
  }

  function addReasoning(chunk: string) {
    if (!chunk) return
    reasoning += chunk
    onReasoning?.(chunk)
  }

  function addBlock(block: ForeignRecord, index: number) {
    const type = textOf(block.type) ?? 'a block without a type'
    sources.beginBlock(text.length)
    blocks.start(block, index, { text, reasoning })
    if (type === 'text') {
      addText(textOf(block.text) ?? '')
      for (const citation of listOf(block.citations)) sources.addCitation(recordOf(citation))
    } else if (type === 'thinking') addReasoning(textOf(block.thinking) ?? '')
    else if (!KEPT.has(type) && !sources.addResults(block)) leftOut.add(type)
  }

  function addDelta(delta: ForeignRecord, index: number) {
    if (delta.type === 'text_delta') addText(textOf(delta.text) ?? '')
    else if (delta.type === 'thinking_delta') addReasoning(textOf(delta.thinking) ?? '')
    else blocks.addDelta(delta, index)
    if (delta.type === 'citations_delta') sources.addCitation(recordOf(delta.citation))
  }

  function addStop(fields: ForeignRecord) {
    stopReason = textOf(fields.stop_reason) ?? stopReason
    refusal = textOf(recordOf(fields.stop_details).explanation) ?? refusal
  }

  function begin(message: ForeignRecord) {
    hasStarted = true
    model = textOf(message.model) ?? model
    usage.add(recordOf(message.usage))
    listOf(message.content).forEach((block, index) => {
      addBlock(recordOf(block), index)
    })
    addStop(message)
  }

  const events: Readonly<Record<string, (event: ForeignRecord) => void>> = {
    message_start: ({ message }) => begin(recordOf(message)),
    content_block_start: ({ content_block, index }) => addBlock(recordOf(content_block), countOf(index) ?? 0),
    content_block_delta: ({ delta, index }) => addDelta(recordOf(delta), countOf(index) ?? 0),
    message_delta: ({ delta, usage: latest }) => {
      addStop(recordOf(delta))
      usage.add(recordOf(latest))
      // Compatible gateways end with this event, without a `message_stop`.
      stopped ||= textOf(recordOf(delta).stop_reason) !== undefined
    },
    message_stop: () => {
      ended = true
    },
  }

  /** Whether incomplete tool arguments show that the stream was cut. At the token limit they are incomplete anyway. */
  const hasCutArguments = () => FINISH.get(stopReason ?? '') !== 'length' && blocks.hasCutInput()

  const notes = (): readonly string[] => [
    ...requestNotes,
    ...usage.notes(),
    ...(leftOut.size > 0 ? [`parts of the answer were left out: ${[...leftOut].join(', ')}`] : []),
    ...(EXPLAINED.has(stopReason ?? '') ? [] : [`Anthropic stopped with "${stopReason ?? 'no reason'}"`]),
  ]

  return {
    isWhole: () => ended || (stopped && !hasCutArguments()),
    known: () => (hasStarted ? { usage: usage.total(), model, generated: true } : { generated: false }),
    addEvent(event, state) {
      if (event.type === 'error' || (event.type === undefined && saysFailure(event)))
        throw toVendorError({ ...state(), body: event })
      const type = textOf(event.type) ?? ''
      if (Object.hasOwn(events, type)) events[type]?.(event)
      return ended
    },
    addWhole(parsed, state) {
      const message = recordOf(parsed)
      // Some proxies send errors with status 200.
      if (message.type === 'error' || message.error || (message.type === undefined && saysFailure(message)))
        throw toVendorError({ ...state(), body: message })
      if (message.type !== 'message' || !Array.isArray(message.content)) throw toBadReply('JSON without a message', state())
      begin(message)
    },
    response() {
      const toolCalls = blocks.toolCalls()
      const isPaused = stopReason === PAUSED
      // Only these answers are continued. Reasoning in them is signed, and must come back unchanged.
      const turn = toolCalls.length > 0 || isPaused ? blocks.list({ text, reasoning }) : undefined
      const serviceTier = usage.serviceTier()
      const found = sources.list(text.length)
      return {
        text,
        ...(refusal && { refusal }),
        ...(reasoning && { reasoningText: reasoning }),
        ...(toolCalls.length > 0 && { toolCalls }),
        ...(turn && { vendorTurn: { provider, model: requestedModel, blocks: turn } }),
        ...(isPaused && { isPaused }),
        ...(found.length > 0 && { sources: found }),
        finishReason: FINISH.get(stopReason ?? '') ?? 'other',
        model: model ?? requestedModel,
        usage: usage.total(text !== ''),
        ...(serviceTier && { serviceTier }),
        notes: notes(),
      }
    },
  }
}
