import * as z from 'zod'
import { modelId, type ParsedRequest, type ParseOptions } from '../chat/chat-request.ts'
import { type SentMessage, sentMessage, toConversation, toResults } from '../content/conversation.ts'
import { refusal } from '../request-errors.ts'
import { sentToolChoice, sentTools, toRequestedTools } from '../tools/requested-tools.ts'
import { format, refuseFields, requestMetadata, toWantedJson, unsupported } from '../unsupported.ts'

const item = sentMessage.partial({ role: true }).extend({
  type: z.string().max(100).nullish(),
  call_id: z.string().max(1_000).nullish(),
  name: z.string().max(1_000).nullish(),
  arguments: z.string().max(5_000_000).nullish(),
  output: sentMessage.shape.content,
})
type Item = z.output<typeof item>

/** The fields of a /v1/responses request that are read. All others are ignored (docs/models.md). */
export const responseRequest = z.object({
  model: modelId,
  input: z.union([z.string().max(5_000_000), z.array(item).max(1_000)], { error: 'expected text or a list of messages' }),
  instructions: z.string().max(200_000).nullish(),
  previous_response_id: z.string().max(200).nullish(),
  stream: z.boolean().nullish(),
  background: z.boolean().nullish(),
  metadata: requestMetadata.nullish(),
  text: z.object({ format: format.nullish() }).nullish(),
  tools: sentTools,
  tool_choice: sentToolChoice,
  parallel_tool_calls: z.boolean().nullish(),
  conversation: unsupported,
  prompt: unsupported,
})
export type ResponseRequest = z.output<typeof responseRequest>

const REASONS = {
  conversation: 'use previous_response_id to continue a conversation',
  prompt: 'a flow has its own prompts',
}

/**
 * The conversation of a request with its tools and the JSON that it demands as its answer, or the results of tools with
 * which it continues a flow. Throws INPUT_INVALID with the field that flows do not support.
 */
export function parseResponseRequest(body: ResponseRequest, { ignoreUnsupported }: ParseOptions): ParsedRequest {
  refuseFields(body, REASONS)
  const json = ignoreUnsupported ? undefined : toWantedJson(body.text?.format, 'text.format')
  const { input } = body
  const sent = typeof input === 'string' ? [{ role: 'user', content: input }] : input.map(toMessage)
  const results = toResults(sent, 'input')
  if (results) return { results, json }
  return { conversation: toConversation(sent, 'input'), json, tools: toRequestedTools(body, ignoreUnsupported) }
}

/** An item of the input in the form of a message of a chat completion. */
function toMessage(
  { type, role, call_id: callId, name, arguments: given, output, ...message }: Item,
  index: number,
): SentMessage {
  const param = `input[${index}]`
  const required = (field: string) =>
    refusal(`${param}.${field}`, `${param}.${field}: expected a value, found none`, 'missing_required_parameter')
  if (type === 'function_call') {
    if (!name) throw required('name')
    return { role: 'assistant', tool_calls: [{ id: callId, function: { name, arguments: given ?? '' } }] }
  }
  if (type === 'function_call_output') {
    if (!callId) throw required('call_id')
    return { role: 'tool', tool_call_id: callId, content: output }
  }
  if ((type ?? 'message') === 'message' && role !== undefined) return { role, ...message }
  if ((type ?? 'message') === 'message')
    throw refusal(`${param}.role`, `${param}.role: expected a role, found none`, 'missing_required_parameter')
  const why = `items of type "${type}" are not supported: flows accept messages, function calls and their outputs`
  throw refusal(param, `${param}: ${why}`, 'unsupported_value')
}
