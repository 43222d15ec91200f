import type { ToolCall } from '../../domain/execution/model-call.ts'
import { type ForeignRecord, listOf, recordOf, textOf } from '../vendor/foreign-json.ts'

/** Collects the tool calls of one answer of Chat Completions, complete or in fragments. */
export function createToolCallReader() {
  const calls: { id?: string; index: unknown; name: string; arguments: string }[] = []

  /**
   * Fragments with the same `index` belong together, but a new id at the same index starts another call (Gemini,
   * Mistral).
   */
  function readCall(call: ForeignRecord): void {
    const { name, arguments: given } = recordOf(call.function ?? call.custom)
    const id = textOf(call.id)
    const part = typeof given === 'string' ? given : given === undefined || given === null ? '' : JSON.stringify(given)
    const known = calls.findLast((other) => other.index === call.index && !(id && other.id && other.id !== id))
    if (known && (call.index !== undefined || !id)) {
      known.arguments += part
      if (!known.name) known.name = textOf(name) ?? ''
    } else {
      calls.push({ ...(id && { id }), index: call.index, name: textOf(name) ?? '', arguments: part })
    }
  }

  return {
    read(message: ForeignRecord): void {
      for (const call of listOf(message.tool_calls)) readCall(recordOf(call))
      // The older form of 2023, which some servers still send.
      if (message.function_call) readCall({ function: message.function_call })
    },
    isEmpty: (): boolean => calls.length === 0,
    list: (): readonly ToolCall[] => calls.map(({ index: _, ...call }) => call),
  }
}
