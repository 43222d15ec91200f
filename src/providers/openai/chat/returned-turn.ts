import { type ForeignRecord, isRecord, listOf, textOf } from '../../vendor/foreign-json.ts'
import type { ChatDialect } from '../dialect.ts'

/** Fields of a message in which services send reasoning as text. */
const TEXT_FIELDS = ['reasoning_content', 'reasoning', 'thinking'] as const
/** Fields with reasoning in parts, which may be signed or encrypted: OpenRouter, LiteLLM. */
const LIST_FIELDS = ['reasoning_details', 'thinking_blocks'] as const
/** Fields of such a part that arrive in fragments. */
const GROWING = new Set(['text', 'summary', 'thinking', 'data'])

/** What of a turn must go back to the same service with the results of its tool calls. */
export interface ReturnedTurn {
  /** Notes the reasoning of a message, or of a chunk of one. */
  read(message: ForeignRecord): void
  /**
   * The message to send back. Undefined if text and tool calls say all. `signedCalls`: the calls with the fields that
   * the service added, undefined if there are none of these.
   */
  toBlock(answer: {
    readonly text: string
    readonly reasoningText: string
    readonly plainCalls: readonly ForeignRecord[]
    readonly signedCalls: readonly ForeignRecord[] | undefined
  }): ForeignRecord | undefined
}

/** Whether a message holds reasoning of which `ReturnedTurn` takes note. Most hold none. */
export const holdsReasoning = (message: ForeignRecord): boolean =>
  TEXT_FIELDS.some((name) => message[name]) || LIST_FIELDS.some((name) => message[name])

export function createReturnedTurn({ returnsReasoning = 'fields' }: ChatDialect): ReturnedTurn {
  let textFields: Set<string> | undefined
  let lists: Map<string, Record<string, unknown>[]> | undefined

  return {
    read(message) {
      if (returnsReasoning === 'never') return
      for (const name of TEXT_FIELDS) if (textOf(message[name])) textFields = (textFields ?? new Set()).add(name)
      for (const name of LIST_FIELDS) {
        if (!Array.isArray(message[name])) continue
        lists ??= new Map()
        const known = lists.get(name) ?? []
        lists.set(name, known)
        for (const part of listOf(message[name])) if (isRecord(part)) addPart(known, part)
      }
    },
    toBlock({ text, reasoningText, plainCalls, signedCalls }) {
      const hasReasoning = returnsReasoning === 'parts' ? reasoningText !== '' : textFields !== undefined || lists !== undefined
      if (!signedCalls && !hasReasoning) return undefined
      const thought = { type: 'thinking', thinking: [{ type: 'text', text: reasoningText }] }
      const parts = [thought, ...(text === '' ? [] : [{ type: 'text', text }])]
      const asParts = returnsReasoning === 'parts' && hasReasoning
      // The parts hold the same reasoning as the text, with its signatures.
      const names = [...(textFields ?? [])].filter((name) => !(name === 'reasoning' && lists?.has('reasoning_details')))
      return {
        content: asParts ? parts : text === '' ? null : text,
        ...(!asParts && Object.fromEntries(names.map((name) => [name, reasoningText]))),
        ...(!asParts && lists && Object.fromEntries(lists)),
        tool_calls: signedCalls ?? plainCalls,
      }
    },
  }
}

/** Joins a fragment with the part to which it belongs: the last one, if type and index are the same. */
function addPart(known: Record<string, unknown>[], part: ForeignRecord): void {
  const last = known.at(-1)
  const isFragment = last !== undefined && last.type === part.type && last.index === part.index && !last.signature && !last.data
  if (!isFragment) {
    known.push({ ...part })
    return
  }
  for (const [name, value] of Object.entries(part)) {
    if (value === null || value === undefined) continue
    const before = last[name]
    last[name] = GROWING.has(name) && typeof before === 'string' && typeof value === 'string' ? before + value : value
  }
}
