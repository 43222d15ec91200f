import * as z from 'zod'
import { isBlank } from '../../domain/blank-text.ts'
import { refusal } from './request-errors.ts'

const MAX_MESSAGES = 1_000

const text = z.string().max(5_000_000)
/** The fields of text parts. All other fields of a part are ignored. */
const part = z.object({ type: z.string().max(100), text: text.optional(), refusal: text.optional() })
const content = z.union([text, z.array(part).max(1_000)], { error: 'expected text or a list of parts' })

/** One message as OpenAI's clients send it. `toConversation` decides whether a flow supports it. */
export const sentMessage = z.object({
  role: z.string().max(100),
  content: content.nullish(),
  refusal: text.nullish(),
  tool_calls: z.array(z.unknown()).max(1_000).nullish(),
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
}

const ROLES: ReadonlyMap<string, HistoryMessage['role']> = new Map([
  ['system', 'system'],
  ['developer', 'system'],
  ['user', 'user'],
  ['assistant', 'assistant'],
])
const TEXT_TYPES: readonly string[] = ['text', 'input_text', 'output_text']

/**
 * The conversation of a request. Throws INPUT_INVALID with the field for everything that is not text: no address in a
 * message is ever fetched. `param`: name of the field that contains the messages.
 */
export function toConversation(sent: readonly SentMessage[], param: string): Conversation {
  const messages = sent.map((message, index) => toHistoryMessage(message, `${param}[${index}]`))
  const prompt = messages.findLast(({ role }) => role === 'user')
  if (!prompt) throw refusal(param, `${param}: expected a message with the role user, found none`, 'invalid_value')
  if (isBlank(prompt.content))
    throw refusal(param, `${param}: expected text in the last message of the user, found none`, 'invalid_value')
  // Vendors refuse messages without text.
  return { messages: messages.filter(({ content }) => content.trim() !== ''), prompt }
}

function toHistoryMessage(message: SentMessage, param: string): HistoryMessage {
  const role = ROLES.get(message.role)
  if (!role) {
    const why = message.role === 'tool' || message.role === 'function' ? ': flows do not call tools' : ''
    const found = `expected system, developer, user or assistant, found "${message.role}"${why}`
    throw refusal(`${param}.role`, `${param}.role: ${found}`, 'unsupported_value')
  }
  if ((message.tool_calls?.length ?? 0) > 0 || (message.function_call ?? null) !== null) {
    throw refusal(
      `${param}.tool_calls`,
      `${param}: tool calls are not supported: flows do not call tools`,
      'unsupported_parameter',
    )
  }
  return { role, content: toText(message.content ?? message.refusal, `${param}.content`) }
}

function toText(content: Content, param: string): string {
  if (typeof content === 'string') return content
  return (content ?? []).map((one, index) => partText(one, `${param}[${index}]`)).join('\n')
}

function partText({ type, text, refusal: refused }: z.output<typeof part>, param: string): string {
  const isText = TEXT_TYPES.includes(type)
  if (!isText && type !== 'refusal') {
    const why = `parts of type "${type}" are not supported: flows accept only text, and nothing was fetched`
    throw refusal(param, `${param}: ${why}`, 'unsupported_value')
  }
  const found = isText ? text : refused
  if (found !== undefined) return found
  throw refusal(param, `${param}: expected text in a part of type "${type}", found none`, 'invalid_value')
}
