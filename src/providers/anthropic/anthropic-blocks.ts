import type { ToolCall } from '../../domain/execution/model-call.ts'
import { type ForeignRecord, listOf, textOf } from '../vendor/foreign-json.ts'

interface StartedBlock {
  readonly block: ForeignRecord
  /** Lengths of the answer's text and reasoning before the block. */
  readonly textBefore: number
  readonly reasoningBefore: number
  /** Input of a tool, in the form of its deltas. */
  json: string
  signature?: string
  citations?: unknown[]
}

/** The text and reasoning of an answer so far. Blocks hold places in them, so that no text is kept twice. */
export interface AnswerTexts {
  readonly text: string
  readonly reasoning: string
}

/** Collects the blocks of one answer. The result is the same for a plain and for a streamed answer. */
export function createAnthropicBlocks() {
  const started = new Map<number, StartedBlock>()

  function toBlock(
    { block, textBefore, reasoningBefore, json, signature, citations }: StartedBlock,
    { text, reasoning }: AnswerTexts,
    next: StartedBlock | undefined,
  ): ForeignRecord {
    if (block.type === 'text') {
      const all = citations && { citations: [...listOf(block.citations), ...citations] }
      return { ...block, text: text.slice(textBefore, next?.textBefore), ...all }
    }
    if (block.type === 'thinking') {
      const thinking = reasoning.slice(reasoningBefore, next?.reasoningBefore)
      return { ...block, thinking, ...(signature !== undefined && { signature }) }
    }
    return json === '' ? block : { ...block, input: JSON.parse(json) }
  }

  return {
    /** Starts a block. Must be called before its text is added to the answer. */
    start(block: ForeignRecord, index: number, { text, reasoning }: AnswerTexts) {
      started.set(index, { block, textBefore: text.length, reasoningBefore: reasoning.length, json: '' })
    },
    /** Reads the parts of a delta that are neither text nor reasoning. */
    addDelta(delta: ForeignRecord, index: number) {
      const found = started.get(index)
      if (!found) return
      if (delta.type === 'input_json_delta') found.json += textOf(delta.partial_json) ?? ''
      else if (delta.type === 'signature_delta') found.signature = (found.signature ?? '') + (textOf(delta.signature) ?? '')
      else if (delta.type === 'citations_delta') found.citations = [...(found.citations ?? []), delta.citation]
    },
    /** Whether the input of a tool is incomplete. */
    hasCutInput: (): boolean => [...started.values()].some(({ json }) => !isJson(json)),
    toolCalls: (): readonly ToolCall[] =>
      [...started.values()].flatMap(({ block, json }) => (block.type === 'tool_use' ? [toToolCall(block, json)] : [])),
    /** All blocks as a plain answer holds them. Undefined if the input of a tool is incomplete. */
    list(texts: AnswerTexts): readonly ForeignRecord[] | undefined {
      const blocks = [...started.values()]
      if (blocks.some(({ json }) => !isJson(json))) return undefined
      return blocks.map((block, index) => toBlock(block, texts, blocks[index + 1]))
    },
  }
}

const toToolCall = ({ id, name, input }: ForeignRecord, json: string): ToolCall => ({
  ...(textOf(id) && { id: textOf(id) }),
  name: textOf(name) ?? '',
  arguments: json || JSON.stringify(input ?? {}),
})

function isJson(text: string): boolean {
  if (text === '') return true
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}
