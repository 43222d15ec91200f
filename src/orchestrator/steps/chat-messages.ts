import { isBlank } from '../../domain/blank-text.ts'
import type { ModelMessage } from '../../domain/execution/model-call.ts'
import type { Message } from '../../domain/users/thread.ts'

/** Stands before a conversation that begins with an answer, or whose beginning was left out. */
const BEFORE_FIRST_ANSWER = '(The beginning of this conversation is not shown.)'

/**
 * The conversation and the prompt as models take it: user and assistant in turn, first and last the user. Chat templates of local models refuse
 * every other order, and some vendors drop what stands between. Neighbours of one role become one message; blank messages are left out; system
 * messages go another way.
 */
export function toChatMessages(history: readonly Message[], prompt: string): readonly ModelMessage[] {
  const turns: ModelMessage[] = []
  const add = (role: ModelMessage['role'], content: string) => {
    const last = turns.at(-1)
    if (last?.role === role) turns[turns.length - 1] = { role, content: `${last.content}\n\n${content}` }
    else turns.push({ role, content })
  }
  for (const { role, content } of history) {
    if (role === 'system' || isBlank(content)) continue
    if (role === 'assistant' && turns.length === 0) add('user', BEFORE_FIRST_ANSWER)
    add(role, content)
  }
  add('user', prompt)
  return turns
}
