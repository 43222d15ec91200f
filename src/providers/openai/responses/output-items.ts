import type { GeneratedFile, ToolCall } from '../../../domain/execution/model-call.ts'
import { listOf, recordOf, textOf } from '../../vendor/foreign-json.ts'
import { fromDataUrl, toGeneratedFile } from '../generated-media.ts'

export function toToolCall(item: unknown): ToolCall | undefined {
  const { type, call_id, id, name, arguments: given, input } = recordOf(item)
  if (type !== 'function_call' && type !== 'custom_tool_call') return undefined
  const callId = textOf(call_id) ?? textOf(id)
  return { ...(callId && { id: callId }), name: textOf(name) ?? '', arguments: textOf(given) ?? textOf(input) ?? '' }
}

/** The files of an item: a generated image, or those that generated code made. */
export function toFile(item: unknown): readonly GeneratedFile[] {
  const { type, result, outputs } = recordOf(item)
  if (type === 'code_interpreter_call') {
    return listOf(outputs).flatMap((output) => fromDataUrl(textOf(recordOf(output).url)) ?? [])
  }
  const data = type === 'image_generation_call' ? textOf(result) : undefined
  return data === undefined ? [] : [toGeneratedFile(Buffer.from(data, 'base64'), 'image/png')]
}

/**
 * The items to send back unchanged with the results of tool calls. Undefined if text and tool calls say all, and where
 * the reasoning cannot be sent: without encrypted content the API expects an item that it has stored.
 */
export function toReturnedItems(output: readonly unknown[]): readonly unknown[] | undefined {
  const items = output.map(recordOf)
  const isPlain = ({ type, phase }: (typeof items)[number]) =>
    type === 'function_call' || (type === 'message' && (phase === undefined || phase === null))
  if (items.every(isPlain)) return undefined
  const isUsable = items.every(
    (item) => item.type !== 'reasoning' || textOf(item.encrypted_content) !== undefined || listOf(item.content).length > 0,
  )
  return isUsable ? output : undefined
}

const HOSTED_CALLS = /^(web_search|file_search|code_interpreter|image_generation)_call$/

/** A note on calls of hosted tools, whose price no usage contains. */
export function toHostedCallNotes(output: readonly unknown[]): readonly string[] {
  const counts = new Map<string, number>()
  for (const item of output) {
    const type = textOf(recordOf(item).type) ?? ''
    if (HOSTED_CALLS.test(type)) counts.set(type, (counts.get(type) ?? 0) + 1)
  }
  if (counts.size === 0) return []
  const calls = [...counts].map(([type, count]) => `${count} ${type.replace(/_call$/, '')}`).join(', ')
  return [`calls of hosted tools are billed beside the tokens and are not part of the cost: ${calls}`]
}
