import { CONTEXT_KINDS, type ContextKind, type Origin, type SharingDecision } from './sharing.ts'

/** What a text was made from if it was made from the user's prompt alone. */
export const PROMPT_ONLY: readonly Origin[] = [{ kind: 'original_prompt' }]

const NO_ORIGINS: readonly Origin[] = []

/** All origins of the lists, each once, in the order in which they first occur. */
export function joinOrigins(lists: readonly (readonly Origin[])[]): readonly Origin[] {
  const filled = lists.filter((list) => list.length > 0)
  if (filled.length <= 1) return filled[0] ?? NO_ORIGINS
  // No set: there are few different origins, and a text of its own as the key of each would cost more than to compare.
  const joined: Origin[] = []
  for (const list of filled) {
    for (const origin of list) if (!includesOrigin(joined, origin)) joined.push(origin)
  }
  return joined
}

const includesOrigin = (origins: readonly Origin[], { kind, from }: Origin): boolean =>
  origins.some((known) => known.kind === kind && known.from === from)

export const toOrigin = (kind: ContextKind, from?: string): Origin => (from === undefined ? { kind } : { kind, from })

/** Reads origins from data that users can write, such as the metadata of a message; `undefined` for anything else. */
export function readOrigins(value: unknown): readonly Origin[] | undefined {
  if (!Array.isArray(value)) return undefined
  const origins: Origin[] = []
  for (const entry of value) {
    const origin = readOrigin(entry)
    if (!origin) return undefined
    origins.push(origin)
  }
  return origins
}

function readOrigin(entry: unknown): Origin | undefined {
  if (typeof entry !== 'object' || entry === null || !('kind' in entry)) return undefined
  const kind = CONTEXT_KINDS.find((known) => known === entry.kind)
  const from = 'from' in entry ? entry.from : undefined
  if (!kind || (from !== undefined && typeof from !== 'string')) return undefined
  return toOrigin(kind, from)
}

const WORDS: Readonly<Record<ContextKind, string>> = {
  original_prompt: "the user's prompt",
  conversation_history: 'conversation history',
  step_output: 'an output',
  attachment: 'an attachment',
  metadata: 'metadata',
  tool_result: 'a tool result',
}

/** An origin in words, for messages. */
export const describeOrigin = ({ kind, from }: Origin): string => (from === undefined ? WORDS[kind] : `${WORDS[kind]} of ${from}`)

/** Why an item may not be shared, in words: `which openai may not see (allowConversationHistory)`. */
export function describeDenial({ piece, to, rule, origin }: SharingDecision): string {
  if (!origin) return `which ${to} may not see (${rule})`
  return `but "${piece}" was made from ${describeOrigin(origin)}, which ${to} may not see (${rule})`
}
