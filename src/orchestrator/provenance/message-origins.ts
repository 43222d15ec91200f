import { joinOrigins, readOrigins, toOrigin } from '../../domain/users/origins.ts'
import type { Origin } from '../../domain/users/sharing.ts'
import type { Message } from '../../domain/users/thread.ts'
import { ENGINE_PROVIDER } from '../../domain/waiting/waiting-steps.ts'
import type { ContextItem } from '../../policies/policy.ts'

/** What an answer may have been made from that a flow saved before origins were recorded. */
const UNKNOWN_ORIGINS: readonly Origin[] = [toOrigin('conversation_history'), toOrigin('attachment'), toOrigin('metadata')]

/**
 * The writer of a message and what the message was made from, for the decision whether a provider may see it. A
 * provider has seen everything that its own text was made from.
 */
export function messageItem(message: Message, target: string, isDirect: boolean): Pick<ContextItem, 'from' | 'madeFrom'> {
  const { from, madeFrom } = isDirect ? { from: providerOf(message), madeFrom: undefined } : madeFromOf(message)
  return from === undefined ? { madeFrom } : from === target ? { from } : { from, madeFrom }
}

/** What a message of the conversation consists of for another text. */
export function originsThroughMessage(message: Message): readonly Origin[] {
  const { from, madeFrom } = madeFromOf(message)
  return joinOrigins([[toOrigin('conversation_history', from)], madeFrom])
}

const providerOf = ({ metadata }: Message): string | undefined =>
  typeof metadata.provider === 'string' ? metadata.provider : undefined

function madeFromOf(message: Message): { readonly from?: string; readonly madeFrom: readonly Origin[] } {
  const { role, metadata } = message
  const from = providerOf(message)
  const origins = readOrigins(metadata.origins)
  // A step that waits passes the texts of others on, which its origins name.
  if (origins) return { from: from === ENGINE_PROVIDER ? undefined : from, madeFrom: origins }
  const isOfFlow = role === 'assistant' && typeof metadata.orchestrationFlowId === 'string'
  return { from, madeFrom: isOfFlow ? UNKNOWN_ORIGINS : [] }
}
