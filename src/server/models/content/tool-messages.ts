import * as z from 'zod'

/** A call in a message of the assistant. Only what a conversation as text can hold is read. */
export const sentCall = z.object({
  id: z.string().max(1_000).nullish(),
  function: z.object({ name: z.string().max(1_000), arguments: z.string().max(5_000_000) }).nullish(),
})

/** The result of a call, as a message with the role `tool` has it. */
export interface SentResult {
  readonly id: string
  readonly content: string
  /** Name of the field that contains the result. */
  readonly param: string
}

interface ToolMessage {
  readonly role: string
  readonly tool_call_id?: string | null | undefined
  readonly tool_calls?: readonly z.output<typeof sentCall>[] | null | undefined
}

/**
 * The results at the end of a conversation, after the last message of the user: the client continues a flow with them.
 * Undefined if the conversation ends with another message, whose answer is a new flow.
 */
export function findResults<Message extends ToolMessage>(
  sent: readonly Message[],
  toResult: (message: Message, index: number) => SentResult,
): readonly SentResult[] | undefined {
  if (sent.at(-1)?.role !== 'tool') return undefined
  const since = sent.findLastIndex(({ role }) => role === 'user') + 1
  return sent.slice(since).flatMap((message, position) => (message.role === 'tool' ? toResult(message, since + position) : []))
}

/** Calls of a message of the assistant as text, for a conversation that continues in a new flow. */
export const toCallsText = ({ tool_calls }: ToolMessage): string =>
  (tool_calls ?? [])
    .map(({ function: called }) => (called ? `[Called the tool ${called.name} with ${called.arguments}]` : '[Called a tool]'))
    .join('\n')

/** The text that stands for the result of a call in such a conversation. */
export function toResultText(sent: readonly ToolMessage[], { tool_call_id: id }: ToolMessage, content: string): string {
  const call = sent.flatMap(({ tool_calls }) => tool_calls ?? []).find((one) => one.id === id)
  return `[Result of the tool${call?.function ? ` ${call.function.name}` : ''}: ${content}]`
}
