import { createHash } from 'node:crypto'
import {
  type AssistantMessage,
  type ModelMessage,
  type ModelRequest,
  stableEndsOf,
  type ToolCall,
  type ToolMessage,
  type UserMessage,
} from '../../../domain/execution/model-call.ts'
import { type ForeignRecord, isRecord, listOf, recordOf, textOf } from '../../vendor/foreign-json.ts'
import type { LoadedFiles } from '../../vendor/loaded-files.ts'
import type { RequestNotes } from '../../vendor/request-notes.ts'
import type { ChatDialect } from '../dialect.ts'
import { toChatFileParts } from './chat-files.ts'

export interface ChatMessagesContext {
  /** Id of the account, which decides whose turns go back unchanged. */
  readonly provider: string
  readonly dialect: ChatDialect
  readonly files: LoadedFiles
  readonly notes: RequestNotes
}

/** Maximum number of marks that Anthropic accepts in one request. */
const MAX_CACHE_MARKS = 4
/** OpenAI rejects longer ids of tool calls in Chat Completions. */
const MAX_ID_LENGTH = 40

/** The messages of a Chat Completions request. */
export function toCompletionMessages(request: ModelRequest, context: ChatMessagesContext): readonly ForeignRecord[] {
  const { system, messages, settings, model } = request
  const { dialect } = context
  const marks = settings.cache !== 'off' && dialect.cacheMarks?.(model)
  const mark = marks ? { type: 'ephemeral', ...(typeof settings.cache === 'object' && { ttl: settings.cache.ttl }) } : undefined
  const marked = mark ? lastStableEnds(messages) : undefined
  const sent: ForeignRecord[] = []
  /** Ids in turns that go back unchanged, whose results must have the same ids. */
  let keptIds: Set<string> | undefined
  /** Files of tool results, for which the role `tool` has no parts. */
  let pending: readonly ForeignRecord[] = []

  function flush(): void {
    if (pending.length === 0) return
    sent.push({ role: 'user', content: pending })
    pending = []
  }

  function keepId(id: string): void {
    keptIds ??= new Set()
    keptIds.add(id)
  }

  if (system !== undefined) sent.push({ role: 'system', content: mark ? [toText(system, mark)] : system })
  for (const message of messages) {
    if (message.role === 'tool') {
      const { files, ...result } = toToolResult(message, context)
      const id = keptIds?.has(message.toolCallId) ? message.toolCallId : toCallId(message.toolCallId, dialect)
      sent.push({ role: 'tool', tool_call_id: id, ...result })
      pending = [...pending, ...files]
      continue
    }
    flush()
    if (message.role === 'user') {
      const own = marked?.flatMap((one) => (one.message === message ? one.end : []))
      sent.push(toUserMessage(message, context, own, mark))
    } else sent.push(toAssistantMessage(message, request, context, keepId))
  }
  flush()
  return sent
}

/** The ends of stable beginnings that can be marked: the last ones, because the system prompt takes one mark. */
const lastStableEnds = (messages: readonly ModelMessage[]) =>
  messages.flatMap((message) => stableEndsOf(message).map((end) => ({ message, end }))).slice(1 - MAX_CACHE_MARKS)

const NO_ENDS: readonly number[] = []

const toText = (text: string, mark?: ForeignRecord): ForeignRecord => ({
  type: 'text',
  text,
  ...(mark && { cache_control: mark }),
})

function toUserMessage(
  message: UserMessage,
  context: ChatMessagesContext,
  ends: readonly number[] = NO_ENDS,
  mark: ForeignRecord | undefined,
): ForeignRecord {
  const { content, files } = message
  if (!files?.length && ends.length === 0) return { role: 'user', content }
  const starts = [0, ...ends]
  const text = starts
    .map((start, index) => toText(content.slice(start, ends[index]), index < ends.length ? mark : undefined))
    .filter((part) => part.text !== '')
  const parts = [...text, ...toChatFileParts(files ?? [], context.dialect, context.files, context.notes)]
  // Where no file could be sent, plain text is what every server accepts.
  return { role: 'user', content: parts.length === 1 && ends.length === 0 && content !== '' ? content : parts }
}

function toAssistantMessage(
  { content, toolCalls, vendorTurn }: AssistantMessage,
  { model }: ModelRequest,
  { provider, dialect }: ChatMessagesContext,
  keepId: (id: string) => void,
): ForeignRecord {
  if (vendorTurn?.provider === provider && vendorTurn.model === model) {
    const [block] = vendorTurn.blocks
    if (isRecord(block)) {
      for (const call of listOf(block.tool_calls)) keepId(textOf(recordOf(call).id) ?? '')
      return { ...block, role: 'assistant' }
    }
  }
  if (!toolCalls?.length) return { role: 'assistant', content }
  return {
    role: 'assistant',
    content: content === '' ? null : content,
    tool_calls: toolCalls.map((call, index) => toSentCall(call, index, dialect)),
  }
}

const toSentCall = ({ id, name, arguments: given }: ToolCall, index: number, dialect: ChatDialect): ForeignRecord => ({
  id: toCallId(id ?? `call_${index}`, dialect),
  type: 'function',
  // Servers that fill a chat template parse the arguments, and fail for an empty text.
  function: { name, arguments: given.trim() === '' ? '{}' : given },
})

/** The id of a call of another vendor in the form that this one accepts. Equal ids stay equal. */
function toCallId(id: string, { shortToolCallIds }: ChatDialect): string {
  if (shortToolCallIds ? /^[A-Za-z0-9]{9}$/.test(id) : id.length <= MAX_ID_LENGTH) return id
  const hash = createHash('sha256').update(id).digest('hex')
  return shortToolCallIds ? hash.slice(0, 9) : hash.slice(0, MAX_ID_LENGTH)
}

function toToolResult(
  { toolName, content, isError, files }: ToolMessage,
  { dialect, files: loaded, notes }: ChatMessagesContext,
): { readonly content: string; readonly files: readonly ForeignRecord[] } {
  const text = isError ? `Error: ${content}` : content
  if (!files?.length) return { content: text, files: [] }
  const parts = toChatFileParts(files, dialect, loaded, notes)
  const texts = parts.flatMap((part) => (part.type === 'text' ? [String(part.text)] : []))
  const others = parts.filter(({ type }) => type !== 'text')
  const title = others.length > 0 ? [toText(`Files of the result of the tool ${toolName}:`)] : []
  return { content: [text, ...texts].join('\n\n'), files: [...title, ...others] }
}
