import * as z from 'zod'
import { isBlank } from '../../../domain/blank-text.ts'
import { MAX_ATTACHMENTS, type NewAttachment } from '../../../domain/users/new-attachment.ts'
import { refusal } from '../request-errors.ts'
import { filePartFields, isFilePart, toAttachment } from './file-parts.ts'
import { findResults, type SentResult, sentCall, toCallsText, toResultText } from './tool-messages.ts'

const MAX_MESSAGES = 1_000

const text = z.string().max(5_000_000)
/** The fields of parts that are read. All others are ignored. */
const part = z.object({ type: z.string().max(100), text: text.optional(), refusal: text.optional(), ...filePartFields })
const content = z.union([text, z.array(part).max(1_000)], { error: 'expected text or a list of parts' })

/** One message as OpenAI's clients send it. `toConversation` decides whether a flow supports it. */
export const sentMessage = z.object({
  role: z.string().max(100),
  content: content.nullish(),
  refusal: text.nullish(),
  tool_calls: z.array(sentCall).max(1_000).nullish(),
  tool_call_id: z.string().max(1_000).nullish(),
  function_call: z.unknown().optional(),
})
export type SentMessage = z.output<typeof sentMessage>
type Content = SentMessage['content']

export const sentMessages = z.array(sentMessage).max(MAX_MESSAGES)

/** A message for the thread. */
export interface HistoryMessage {
  readonly role: 'user' | 'assistant' | 'system'
  readonly content: string
  readonly metadata?: Readonly<Record<string, unknown>>
}

/** The input of a flow: all messages, and which of them is the prompt. */
export interface Conversation {
  readonly messages: readonly HistoryMessage[]
  /** The last message of the user. */
  readonly prompt: HistoryMessage
  /** The files of all messages of the user, which clients repeat with every request. */
  readonly files: readonly NewAttachment[]
}

const ROLES: ReadonlyMap<string, HistoryMessage['role']> = new Map([
  ['system', 'system'],
  ['developer', 'system'],
  ['user', 'user'],
  ['assistant', 'assistant'],
  // As text of the user, whose program wrote it.
  ['tool', 'user'],
])
const TEXT_TYPES: readonly string[] = ['text', 'input_text', 'output_text']

/**
 * The conversation of a request. Throws INPUT_INVALID with the field for everything that is neither text nor a file.
 * `param`: name of the field that contains the messages.
 */
export function toConversation(sent: readonly SentMessage[], param: string): Conversation {
  const messages = sent.map((message, index) => toHistoryMessage(sent, message, `${param}[${index}]`))
  const prompt = messages[sent.findLastIndex(({ role }) => role === 'user')]
  if (!prompt) throw refusal(param, `${param}: expected a message with the role user, found none`, 'invalid_value')
  const files = sent.flatMap((message, index) => filesOf(message, `${param}[${index}]`))
  if (files.length > MAX_ATTACHMENTS) {
    const found = `expected at most ${MAX_ATTACHMENTS} files in all messages of the user, found ${files.length}`
    throw refusal(param, `${param}: ${found}`, 'invalid_value')
  }
  if (isBlank(prompt.content) && files.length === 0)
    throw refusal(param, `${param}: expected text in the last message of the user, found none`, 'invalid_value')
  // Vendors refuse messages without text.
  return { messages: messages.filter(({ content }) => content.trim() !== ''), prompt, files }
}

/**
 * The results of tools with which a conversation ends; undefined if it ends with another message. Throws INPUT_INVALID.
 */
export const toResults = (sent: readonly SentMessage[], param: string): readonly SentResult[] | undefined =>
  findResults(sent, ({ tool_call_id: id, content }, index) => {
    const where = `${param}[${index}]`
    if (!id)
      throw refusal(`${where}.tool_call_id`, `${where}: expected the id of a call, found none`, 'missing_required_parameter')
    // A result is text: files are refused as those of every other message that is not the user's.
    filesOf({ role: 'tool', content }, where)
    return { id, content: toText(content, `${where}.content`), param: where }
  })

function toHistoryMessage(sent: readonly SentMessage[], message: SentMessage, param: string): HistoryMessage {
  const role = ROLES.get(message.role)
  if (!role) {
    const found = `expected system, developer, user, assistant or tool, found "${message.role}"`
    throw refusal(`${param}.role`, `${param}.role: ${found}`, 'unsupported_value')
  }
  if ((message.function_call ?? null) !== null) {
    const why = 'function_call is not supported: send tool_calls'
    throw refusal(`${param}.function_call`, `${param}: ${why}`, 'unsupported_parameter')
  }
  const text = toText(message.content ?? message.refusal, `${param}.content`)
  if (message.role === 'tool') return { role, content: toResultText(sent, message, text) }
  return { role, content: [text, toCallsText(message)].filter((part) => part !== '').join('\n') }
}

function filesOf({ role, content }: Pick<SentMessage, 'role' | 'content'>, param: string): readonly NewAttachment[] {
  if (typeof content === 'string') return []
  return (content ?? []).flatMap((one, index) => {
    const where = `${param}.content[${index}]`
    if (!isFilePart(one.type)) return []
    if (role === 'user') return toAttachment(one, where)
    throw refusal(where, `${where}: expected files in messages of the user only, found one of ${role}`, 'unsupported_value')
  })
}

function toText(content: Content, param: string): string {
  if (typeof content === 'string') return content
  const texts = (content ?? []).flatMap((one, index) => (isFilePart(one.type) ? [] : partText(one, `${param}[${index}]`)))
  return texts.join('\n')
}

function partText({ type, text, refusal: refused }: z.output<typeof part>, param: string): string {
  const isText = TEXT_TYPES.includes(type)
  if (!isText && type !== 'refusal') {
    const why = `parts of type "${type}" are not supported: flows accept text and files, and nothing was fetched`
    throw refusal(param, `${param}: ${why}`, 'unsupported_value')
  }
  const found = isText ? text : refused
  if (found !== undefined) return found
  throw refusal(param, `${param}: expected text in a part of type "${type}", found none`, 'invalid_value')
}
