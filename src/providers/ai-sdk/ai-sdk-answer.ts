import { Buffer } from 'node:buffer'
import type {
  FinishReason,
  GeneratedFile,
  ModelResponse,
  Source,
  ToolCall,
  VendorTurn,
} from '../../domain/execution/model-call.ts'
import { UNKNOWN_USAGE, type Usage } from '../../domain/execution/usage.ts'
import { countOf, type ForeignRecord, isRecord, listOf, recordOf, textOf, wordMap } from '../vendor/foreign-json.ts'

/** What arrives while an answer is read. */
export interface AnswerListener {
  readonly onText?: (text: string) => void
  readonly onReasoning?: (text: string) => void
}

/** Collects one answer of the AI SDK from its content or from the parts of its stream. */
export interface AiSdkAnswer {
  /** Reads one part. Returns the error that a part of a stream reports, in a record. */
  add(part: unknown): { readonly error: unknown } | undefined
  /** Reads what a whole answer has besides its content. */
  addEnd(result: ForeignRecord): void
  /** Whether the vendor has said that the answer is complete. */
  isWhole(): boolean
  /** Whether any part of an answer was read. */
  isEmpty(): boolean
  known(): { readonly usage?: Usage; readonly model?: string; readonly generated: boolean }
  response(asked: Pick<VendorTurn, 'provider' | 'model'>, notes: readonly string[]): ModelResponse
}

/** A part of the answer in the form in which the vendor needs it again after tool results. */
interface Block {
  readonly type: string
  text?: string
  providerOptions?: unknown
}

const FINISH_REASONS = wordMap<FinishReason>({
  stop: 'stop',
  length: 'length',
  'content-filter': 'content_filter',
  'tool-calls': 'tool_calls',
})

export function createAiSdkAnswer({ onText, onReasoning }: AnswerListener = {}): AiSdkAnswer {
  const texts: string[] = []
  const reasoning: string[] = []
  const toolCalls: ToolCall[] = []
  const sources: Source[] = []
  const files: GeneratedFile[] = []
  const warnings: string[] = []
  const blocks: Block[] = []
  const openBlocks = new Map<unknown, Block>()
  let usage: Usage | undefined
  let model: string | undefined
  let finish: { readonly unified: string; readonly raw: string | undefined } | undefined
  let parts = 0

  const addText = (text: unknown) => {
    if (typeof text !== 'string' || text === '') return
    texts.push(text)
    onText?.(text)
  }
  const addReasoning = (text: unknown) => {
    if (typeof text !== 'string' || text === '') return
    reasoning.push(text)
    onReasoning?.(text)
  }
  const addEnd = (result: ForeignRecord) => {
    finish = toFinish(result.finishReason)
    usage = toUsage(result.usage)
  }
  const addBlock = (type: string, { text, providerMetadata, ...rest }: ForeignRecord): Block => {
    const block: Block = { type, ...rest, ...(typeof text === 'string' && { text }) }
    if (providerMetadata !== undefined) block.providerOptions = providerMetadata
    blocks.push(block)
    return block
  }
  const openBlock = (type: string, { id, providerMetadata }: ForeignRecord) =>
    openBlocks.set(id, addBlock(type, { text: '', providerMetadata }))
  const growBlock = ({ id, delta, providerMetadata }: ForeignRecord) => {
    const block = openBlocks.get(id)
    if (block === undefined) return
    if (typeof delta === 'string') block.text += delta
    // Signatures of reasoning come with its end.
    if (providerMetadata !== undefined) block.providerOptions = providerMetadata
  }
  const addWarnings = (list: unknown) => warnings.push(...listOf(list).map(toNote))

  const readers = new Map<string, (part: ForeignRecord) => void>([
    [
      'text',
      ({ text, providerMetadata }) => {
        addBlock('text', { text, providerMetadata })
        addText(text)
      },
    ],
    ['text-start', (part) => openBlock('text', part)],
    [
      'text-delta',
      (part) => {
        growBlock(part)
        addText(part.delta)
      },
    ],
    ['text-end', growBlock],
    [
      'reasoning',
      ({ text, providerMetadata }) => {
        addBlock('reasoning', { text, providerMetadata })
        addReasoning(text)
      },
    ],
    ['reasoning-start', (part) => openBlock('reasoning', part)],
    [
      'reasoning-delta',
      (part) => {
        growBlock(part)
        addReasoning(part.delta)
      },
    ],
    ['reasoning-end', growBlock],
    ['source', (part) => sources.push(toSource(part))],
    ['file', (part) => files.push(...toFiles(part))],
    [
      'tool-call',
      // What the vendor ran itself needs no result of ours.
      ({ providerExecuted, toolCallId, toolName, input, providerMetadata }) => {
        if (providerExecuted === true) return
        addBlock('tool-call', { toolCallId, toolName, input: toValue(input), providerMetadata })
        toolCalls.push({ id: textOf(toolCallId), name: textOf(toolName) ?? '', arguments: toJson(input) })
      },
    ],
    ['stream-start', (part) => addWarnings(part.warnings)],
    [
      'response-metadata',
      ({ modelId }) => {
        model = textOf(modelId) ?? model
      },
    ],
    ['finish', addEnd],
  ])

  return {
    add(value) {
      const part = recordOf(value)
      const type = textOf(part.type) ?? ''
      if (type === 'error') return { error: part.error }
      if (type !== 'stream-start' && type !== 'raw' && type !== 'ping') parts++
      readers.get(type)?.(part)
      return undefined
    },
    addEnd(result) {
      addEnd(result)
      addWarnings(result.warnings)
      model = textOf(recordOf(result.response).modelId) ?? model
    },
    // An end without a word of the vendor is what adapters of the AI SDK make of a stream that broke off.
    isWhole: () =>
      finish !== undefined && finish.unified !== 'interrupted' && !(isVague(finish.unified) && finish.raw === undefined),
    isEmpty: () => parts === 0,
    known: () => ({ usage, model, generated: texts.length + reasoning.length + toolCalls.length > 0 }),
    response(asked, notes) {
      const isSigned = toolCalls.length > 0 && blocks.some(({ providerOptions }) => providerOptions !== undefined)
      const { unified = 'other', raw } = finish ?? {}
      const finishReason = FINISH_REASONS.get(unified) ?? 'other'
      return {
        text: texts.join(''),
        ...(reasoning.length > 0 && { reasoningText: reasoning.join('') }),
        ...(toolCalls.length > 0 && { toolCalls }),
        ...(isSigned && { vendorTurn: { ...asked, blocks } }),
        ...(sources.length > 0 && { sources }),
        ...(files.length > 0 && { files }),
        finishReason,
        model: model ?? asked.model,
        usage: usage ?? UNKNOWN_USAGE,
        notes: [...notes, ...warnings, ...(finishReason === 'other' ? [`finish reason: ${raw ?? unified}`] : [])],
      }
    },
  }
}

const isVague = (unified: string): boolean => unified === 'other' || unified === 'unknown' || unified === 'error'

/** An object since specification 3, a word before it. */
function toFinish(given: unknown): { readonly unified: string; readonly raw: string | undefined } {
  if (typeof given === 'string') return { unified: given, raw: undefined }
  const { unified, raw } = recordOf(given)
  return { unified: textOf(unified) ?? 'other', raw: textOf(raw) }
}

/** Objects of totals and parts since specification 3, numbers before it. Figures that are absent stay unknown. */
function toUsage(given: unknown): Usage | undefined {
  if (!isRecord(given)) return undefined
  const [input, output] = [recordOf(given.inputTokens), recordOf(given.outputTokens)]
  const inputTokens = countOf(input.total) ?? countOf(given.inputTokens)
  const outputTokens = countOf(output.total) ?? countOf(given.outputTokens)
  const figures = {
    inputTokens,
    cachedInputTokens: countOf(input.cacheRead) ?? countOf(given.cachedInputTokens),
    cacheWriteTokens: countOf(input.cacheWrite),
    outputTokens,
    reasoningTokens: countOf(output.reasoning) ?? countOf(given.reasoningTokens),
    totalTokens:
      inputTokens !== undefined && outputTokens !== undefined ? inputTokens + outputTokens : countOf(given.totalTokens),
  }
  const known = Object.entries(figures).filter(([, count]) => count !== undefined)
  return known.length === 0 ? undefined : { ...Object.fromEntries(known), source: 'reported' }
}

function toSource({ url, title }: ForeignRecord): Source {
  return { kind: 'annotation', ...(textOf(url) && { url: textOf(url) }), ...(textOf(title) && { title: textOf(title) }) }
}

/** Bytes or base64, tagged since specification 4. A file of which only the address is known is left to its reader. */
function toFiles({ mediaType, data }: ForeignRecord): readonly GeneratedFile[] {
  const content = isRecord(data) && 'data' in data ? data.data : data
  const bytes = typeof content === 'string' ? new Uint8Array(Buffer.from(content, 'base64')) : content
  return bytes instanceof Uint8Array ? [{ mediaType: textOf(mediaType) ?? 'application/octet-stream', data: bytes }] : []
}

/** Arguments of a tool call come as JSON text, and go back as a value. */
function toValue(input: unknown): unknown {
  if (typeof input !== 'string') return input
  try {
    return JSON.parse(input)
  } catch {
    return input
  }
}

const toJson = (input: unknown): string => (typeof input === 'string' ? input : JSON.stringify(input ?? {}))

/** A warning of the AI SDK in words. */
function toNote(warning: unknown): string {
  const { type, feature, setting, details, message } = recordOf(warning)
  const subject = textOf(feature) ?? textOf(setting)
  const words = textOf(details) ?? textOf(message)
  return [`${textOf(type) ?? 'warning'}${subject ? ` "${subject}"` : ''}`, words].filter((part) => part !== undefined).join(': ')
}
