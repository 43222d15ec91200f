import type { ToolCall } from '../../../domain/execution/model-call.ts'
import { type ForeignRecord, isRecord, listOf, recordOf, textOf } from '../../vendor/foreign-json.ts'

interface CollectedCall {
  id?: string
  readonly index: unknown
  name: string
  arguments: string
  /** Fields beside id and function, such as the signatures of Gemini behind this protocol. */
  extra?: ForeignRecord
}

export type ToolCallReader = ReturnType<typeof createToolCallReader>

/** Collects the tool calls of one answer of Chat Completions, complete or in fragments. */
export function createToolCallReader() {
  const calls: CollectedCall[] = []

  function readCall(call: ForeignRecord): void {
    const { name: givenName, arguments: given } = recordOf(call.function ?? call.custom)
    const name = textOf(givenName)
    const id = textOf(call.id)
    const part = typeof given === 'string' ? given : given === undefined || given === null ? '' : JSON.stringify(given)
    const known = findCall(id, call.index, name)
    const extra = toExtra(call)
    if (!known || startsAnother(known, id, name, part)) {
      calls.push({ ...(id && { id }), index: call.index, name: name ?? '', arguments: part, ...(extra && { extra }) })
      return
    }
    // Some servers repeat the whole call at the end.
    if (!(part !== '' && part === known.arguments && isWhole(part))) known.arguments += part
    if (!known.name) known.name = name ?? ''
    if (id) known.id ??= id
    if (extra) known.extra = { ...known.extra, ...extra }
  }

  /**
   * The call to which a fragment may belong: the last one with its index, which is missing at some servers, or with its
   * id.
   */
  function findCall(id: string | undefined, index: unknown, name: string | undefined): CollectedCall | undefined {
    if (index !== undefined) return calls.findLast((other) => other.index === index)
    if (id !== undefined) return calls.findLast((other) => other.id === id)
    return name === undefined || calls.at(-1)?.id === undefined ? calls.at(-1) : undefined
  }

  return {
    read(message: ForeignRecord): void {
      for (const call of listOf(message.tool_calls)) readCall(recordOf(call))
      // The older form of 2023, which some servers still send.
      if (message.function_call) readCall({ function: message.function_call })
    },
    isEmpty: (): boolean => calls.length === 0,
    list: (): readonly ToolCall[] => withDistinctIds(calls).map(({ index: _, extra: __, ...call }) => call),
    /** The calls in the form in which they go back to the server. Undefined if they have no fields of their own. */
    listWithExtras: (): readonly ForeignRecord[] | undefined =>
      calls.some(({ extra }) => extra)
        ? withDistinctIds(calls).map(({ id, name, arguments: given, extra }) => ({
            ...(id && { id }),
            type: 'function',
            function: { name, arguments: given },
            ...extra,
          }))
        : undefined,
  }
}

/**
 * Whether a fragment begins another call, although index or id are those of a known one: a new id or name (Gemini and
 * Mistral send every call with the index 0), or a name after arguments that are complete.
 */
function startsAnother(known: CollectedCall, id: string | undefined, name: string | undefined, part: string): boolean {
  if (id !== undefined && known.id !== undefined && id !== known.id) return true
  if (name === undefined || known.name === '') return false
  if (name !== known.name) return true
  const isRepeated = known.id !== undefined && id === known.id && (part === '' || part === known.arguments)
  return !isRepeated && isWhole(known.arguments)
}

function isWhole(text: string): boolean {
  try {
    return isRecord(JSON.parse(text))
  } catch {
    return false
  }
}

const KNOWN_FIELDS: ReadonlySet<string> = new Set(['id', 'index', 'type', 'function', 'custom'])

function toExtra(call: ForeignRecord): ForeignRecord | undefined {
  const fields = Object.entries(call).filter(([name, value]) => !KNOWN_FIELDS.has(name) && isRecord(value))
  return fields.length === 0 ? undefined : Object.fromEntries(fields)
}

/** Results are matched by id, so calls with the same id get a number each. */
function withDistinctIds(calls: readonly CollectedCall[]): readonly CollectedCall[] {
  const seen = new Map<string, number>()
  return calls.map((call) => {
    if (call.id === undefined) return call
    const count = (seen.get(call.id) ?? 0) + 1
    seen.set(call.id, count)
    return count === 1 ? call : { ...call, id: `${call.id}_${count}` }
  })
}
