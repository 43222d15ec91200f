import { CONTEXT_KINDS, type ContextKind, type Origin, type SharingDecision } from './sharing.ts'

/** What a text was made from if it was made from the user's prompt alone. */
export const PROMPT_ONLY: readonly Origin[] = [{ kind: 'original_prompt' }]

const NO_ORIGINS: readonly Origin[] = []

/**
 * All origins of lists that hold each origin once, each once, in the order in which they first occur. Called for every
 * request, so that it makes a list only where no given one holds them all.
 */
export function joinOrigins(lists: readonly (readonly Origin[])[]): readonly Origin[] {
  let first = NO_ORIGINS
  let joined: Origin[] | undefined
  for (const list of lists) {
    if (first.length === 0) {
      first = list
      continue
    }
    // No set: origins are few, and a text as the key of each would cost more than to compare.
    for (const origin of list) {
      if (includesOrigin(joined ?? first, origin)) continue
      joined ??= [...first]
      joined.push(origin)
    }
  }
  return joined ?? first
}

function includesOrigin(origins: readonly Origin[], { kind, from }: Origin): boolean {
  for (const known of origins) if (known.kind === kind && known.from === from) return true
  return false
}

export const toOrigin = (kind: ContextKind, from?: string): Origin => (from === undefined ? { kind } : { kind, from })

/** Reads origins from data that users can write, such as the metadata of a message; `undefined` for anything else. */
export function readOrigins(value: unknown): readonly Origin[] | undefined {
  if (!Array.isArray(value)) return undefined
  const origins: Origin[] = []
  for (const entry of value) {
    const origin = readOrigin(entry)
    if (!origin) return undefined
    if (!includesOrigin(origins, origin)) origins.push(origin)
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
