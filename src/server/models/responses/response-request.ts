import * as z from 'zod'
import { modelId, type ParseOptions } from '../chat/chat-request.ts'
import { type Conversation, sentMessage, toConversation } from '../conversation.ts'
import { refusal } from '../request-errors.ts'
import { format, noChoice, refuseFields, requestMetadata, toWantedJson, unsupported, type WantedJson } from '../unsupported.ts'

const item = sentMessage.partial({ role: true }).extend({ type: z.string().max(100).nullish() })

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
  tools: unsupported,
  tool_choice: noChoice,
  conversation: unsupported,
  prompt: unsupported,
})
export type ResponseRequest = z.output<typeof responseRequest>

const REASONS = {
  tools: 'flows do not call tools',
  conversation: 'use previous_response_id to continue a conversation',
  prompt: 'a flow has its own prompts',
}

/**
 * The conversation of a request and the JSON that it demands as its answer. Throws INPUT_INVALID with the field that
 * flows do not support.
 */
export function parseResponseRequest(
  body: ResponseRequest,
  { ignoreUnsupported }: ParseOptions,
): { readonly conversation: Conversation; readonly json?: WantedJson } {
  refuseFields({ ...body, tools: body.tools && !body.tool_choice && !ignoreUnsupported }, REASONS)
  const json = ignoreUnsupported ? undefined : toWantedJson(body.text?.format, 'text.format')
  return { conversation: parseInput(body), json }
}

function parseInput(body: ResponseRequest): Conversation {
  const { input } = body
  if (typeof input === 'string') return toConversation([{ role: 'user', content: input }], 'input')
  const messages = input.map(({ type, role, ...message }, index) => {
    const param = `input[${index}]`
    if ((type ?? 'message') === 'message' && role !== undefined) return { role, ...message }
    if ((type ?? 'message') === 'message')
      throw refusal(`${param}.role`, `${param}.role: expected a role, found none`, 'missing_required_parameter')
    throw refusal(param, `${param}: items of type "${type}" are not supported: flows accept only messages`, 'unsupported_value')
  })
  return toConversation(messages, 'input')
}
