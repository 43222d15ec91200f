import {
  type AssistantMessage,
  type FilePart,
  type ModelMessage,
  type ModelRequest,
  stableEndsOf,
  type ToolMessage,
  type UserMessage,
  type VendorTurn,
} from '../../domain/execution/model-call.ts'
import { listOf, recordOf } from '../vendor/foreign-json.ts'
import type { LoadedFiles } from '../vendor/loaded-files.ts'
import type { RequestNotes } from '../vendor/request-notes.ts'
import type { CacheMarks } from './anthropic-cache.ts'
import { type Block, toFileBlocks } from './anthropic-files.ts'

/** A message of the Messages API. Text without files is sent as text, everything else as a list of blocks. */
export interface WireMessage {
  readonly role: 'user' | 'assistant'
  readonly content: string | readonly unknown[]
}

export interface PromptContext {
  readonly request: ModelRequest
  /** Id of the provider. */
  readonly provider: string
  readonly files: LoadedFiles
  readonly marks: CacheMarks
  readonly notes: RequestNotes
}

/**
 * Converts messages. The results of one turn become one user message, in which they come first, as the API requires
 * (platform.claude.com/docs/en/agents-and-tools/tool-use/implement-tool-use, November 2026). Text of the user after
 * them is a part of it, because other servers of this protocol reject two user messages in a row.
 */
export function toWireMessages(context: PromptContext): readonly WireMessage[] {
  const { messages } = context.request
  const wire: WireMessage[] = []
  let results: Block[] = []
  for (const message of messages) {
    if (message.role === 'tool') {
      results.push(toToolResult(message, context))
      if (message === messages.at(-1)) context.marks.offer(results.at(-1))
    } else if (message.role === 'user') {
      wire.push({ role: 'user', content: toUserContent(message, results, context) })
      results = []
    } else {
      if (results.length > 0) wire.push({ role: 'user', content: results })
      results = []
      const content = toAssistantContent(message, messages, context)
      if (content.length > 0) wire.push({ role: 'assistant', content })
    }
  }
  if (results.length > 0) wire.push({ role: 'user', content: results })
  return wire
}

/** The blocks of a turn if this provider and model wrote it. Only then may they be sent back. */
export function replayedBlocks(
  turn: VendorTurn | undefined,
  { model }: ModelRequest,
  provider: string,
): readonly unknown[] | undefined {
  return turn?.provider === provider && turn.model === model && turn.blocks.length > 0 ? turn.blocks : undefined
}

/** The files come first, because the API recommends documents before the question about them. */
function toUserContent(message: UserMessage, results: readonly Block[], context: PromptContext): WireMessage['content'] {
  const { content } = message
  const files = blocksOf(message.files, context)
  const ends = stableEndsOf(message).filter(context.marks.wants)
  if (results.length === 0 && files.length === 0 && ends.length === 0) {
    context.marks.skip(content.length)
    return content
  }
  return [...results, ...files, ...toTextBlocks(content, ends, context)]
}

/** The text, divided at the ends of its stable beginnings. */
function toTextBlocks(content: string, ends: readonly number[], { marks }: PromptContext): readonly Block[] {
  const blocks: Block[] = []
  let start = 0
  for (const end of ends) {
    const stable = toText(content.slice(start, end))
    marks.skip(end - start)
    marks.offer(stable)
    blocks.push(stable)
    start = end
  }
  marks.skip(content.length - start)
  return start < content.length ? [...blocks, toText(content.slice(start))] : blocks
}

const toText = (text: string): Block => ({ type: 'text', text })

function toAssistantContent(
  message: AssistantMessage,
  messages: readonly ModelMessage[],
  { request, provider, marks }: PromptContext,
): WireMessage['content'] {
  const { content, toolCalls = [], vendorTurn } = message
  const blocks = replayedBlocks(vendorTurn, request, provider)
  if (blocks) {
    marks.skip(JSON.stringify(blocks).length)
    // The API sends empty text blocks now and then, and rejects them.
    return blocks.filter((block) => !(recordOf(block).type === 'text' && recordOf(block).text === ''))
  }
  marks.skip(content.length)
  if (toolCalls.length === 0) return content
  const ids = idsOfResults(message, messages)
  const calls = toolCalls.map(({ id, name, arguments: text }, index): Block => {
    marks.skip(text.length)
    return { type: 'tool_use', id: toWireId(id ?? ids[index] ?? `call_${index + 1}`), name, input: toInput(text) }
  })
  return content === '' ? calls : [toText(content), ...calls]
}

/** Ids of the results after a turn, in order, for calls of vendors that send no ids. */
function idsOfResults(message: AssistantMessage, messages: readonly ModelMessage[]): readonly string[] {
  const after = messages.slice(messages.indexOf(message) + 1)
  const end = after.findIndex(({ role }) => role !== 'tool')
  return after.slice(0, end < 0 ? undefined : end).flatMap((result) => (result.role === 'tool' ? [result.toolCallId] : []))
}

/** The API accepts letters, digits, `_` and `-`; ids of other vendors may hold more. */
const toWireId = (id: string): string => id.replace(/[^\w-]/g, '_')

/**
 * The input must be an object. Other text is wrapped as the API documents it
 * (platform.claude.com/docs/en/agents-and-tools/tool-use/fine-grained-tool-streaming, November 2026).
 */
function toInput(text: string): unknown {
  try {
    const value: unknown = JSON.parse(text === '' ? '{}' : text)
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value
  } catch {
    // Wrapped below.
  }
  return { INVALID_JSON: text }
}

function toToolResult(message: ToolMessage, context: PromptContext): Block {
  const { toolCallId, content, isError } = message
  context.marks.skip(content.length)
  const files = blocksOf(message.files, context)
  const text = content === '' ? [] : [toText(content)]
  return {
    type: 'tool_result',
    tool_use_id: toWireId(toolCallId),
    ...(files.length > 0 ? { content: [...text, ...files] } : content !== '' && { content }),
    ...(isError && { is_error: true }),
  }
}

const NO_BLOCKS: readonly Block[] = []

function blocksOf(files: readonly FilePart[] | undefined, { request, files: loaded, marks, notes }: PromptContext) {
  if (!files || files.length === 0) return NO_BLOCKS
  for (const { byteLength } of files) marks.skip(byteLength)
  return toFileBlocks(files, request.model, loaded, notes)
}

/** Whether the turn that the last results answer begins with reasoning of this model, or there are no such results. */
export function hasReasoningBeforeResults(request: ModelRequest, provider: string): boolean {
  if (request.messages.at(-1)?.role !== 'tool') return true
  const turn = request.messages.findLast(({ role }) => role === 'assistant')
  const blocks = turn?.role === 'assistant' ? replayedBlocks(turn.vendorTurn, request, provider) : undefined
  return /^(redacted_)?thinking$/.test(String(recordOf(listOf(blocks)[0]).type))
}
