import * as z from 'zod'
import { type Conversation, sentMessages, toConversation } from './conversation.ts'
import { refusal } from './refusal.ts'
import { format, refuseFields, refuseFormat, requestMetadata, unsupported } from './unsupported.ts'

/** Name of a model, as every store can hold it. */
export const modelId = z
  .string()
  .min(1)
  .max(500)
  .regex(/^[^\0]*$/, 'expected text without NUL')

/** Body of /v1/chat/completions as far as it is looked at; everything else is passed over (docs/models.md). */
export const chatRequest = z.object({
  model: modelId,
  messages: sentMessages,
  stream: z.boolean().nullish(),
  stream_options: z.object({ include_usage: z.boolean().nullish() }).nullish(),
  n: z.number().nullish(),
  metadata: requestMetadata.nullish(),
  response_format: format.nullish(),
  modalities: z.array(z.string().max(100)).max(10).nullish(),
  tools: unsupported,
  functions: unsupported,
  audio: unsupported,
  web_search_options: unsupported,
})
export type ChatRequest = z.output<typeof chatRequest>

const REASONS = {
  tools: 'flows call no tools',
  functions: 'flows call no tools',
  audio: 'flows answer in text',
  web_search_options: 'flows call no tools',
}

/** The conversation of a request that a flow can serve. Throws INPUT_INVALID, naming the field, for any other. */
export function parseChatRequest(body: ChatRequest): Conversation {
  refuseFields(body, REASONS)
  refuseFormat(body.response_format, 'response_format')
  if ((body.n ?? 1) !== 1) throw refusal('n', 'n: expected 1: a flow gives one answer', 'unsupported_value')
  if (body.modalities?.some((modality) => modality !== 'text')) {
    throw refusal('modalities', 'modalities: expected ["text"]: flows answer in text', 'unsupported_value')
  }
  return toConversation(body.messages, 'messages')
}
