import { isBlank } from '../../domain/blank-text.ts'
import type { AssistantMessage, FilePart, ModelMessage, UserMessage } from '../../domain/execution/model-call.ts'
import type { Message } from '../../domain/users/thread.ts'

/** User message before a conversation that begins with an answer, or whose beginning was left out. */
const BEFORE_FIRST_ANSWER = '(The beginning of this conversation is not shown.)'

/**
 * The conversation and the prompt in the form that all models accept: roles alternate, and the first and last message
 * are the user's. Chat templates of local models reject any other order, and some vendors drop messages. Adjacent
 * messages of one role are joined; blank messages and system messages are left out. The files belong to the prompt.
 */
export function toChatMessages(
  history: readonly Message[],
  prompt: string,
  files: readonly FilePart[] = [],
): readonly ModelMessage[] {
  const messages: (UserMessage | AssistantMessage)[] = []
  const add = (role: 'user' | 'assistant', content: string) => {
    const last = messages.at(-1)
    if (last?.role === role) messages[messages.length - 1] = { role, content: `${last.content}\n\n${content}` }
    else messages.push({ role, content })
  }
  for (const { role, content } of history) {
    if (role === 'system' || isBlank(content)) continue
    if (role === 'assistant' && messages.length === 0) add('user', BEFORE_FIRST_ANSWER)
    add(role, content)
  }
  add('user', prompt)
  const last = messages.at(-1)
  if (files.length > 0 && last) messages[messages.length - 1] = { role: 'user', content: last.content, files }
  return messages
}
