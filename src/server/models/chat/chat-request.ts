import * as z from 'zod'
import { type Conversation, sentMessages, toConversation } from '../conversation.ts'
import { refusal } from '../request-errors.ts'
import { format, noChoice, refuseFields, requestMetadata, toWantedJson, unsupported, type WantedJson } from '../unsupported.ts'

/** Name of a model that every database can store. */
export const modelId = z
  .string()
  .min(1)
  .max(500)
  .regex(/^[^\0]*$/, 'expected text without NUL')

/** The fields of a /v1/chat/completions request that are read. All others are ignored (docs/models.md). */
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
  tool_choice: noChoice,
  functions: unsupported,
  function_call: noChoice,
  audio: unsupported,
  web_search_options: unsupported,
})
export type ChatRequest = z.output<typeof chatRequest>

const REASONS = {
  tools: 'flows do not call tools',
  functions: 'flows do not call tools',
  audio: 'flows answer in text',
  web_search_options: 'flows do not call tools',
}

export interface ParseOptions {
  /** Whether to ignore fields that flows do not support, as long as the answer is useful without them. */
  readonly ignoreUnsupported: boolean
}

/**
 * The conversation of a request and the JSON that it demands as its answer. Throws INPUT_INVALID with the field that
 * flows do not support.
 */
export function parseChatRequest(
  body: ChatRequest,
  { ignoreUnsupported }: ParseOptions,
): { readonly conversation: Conversation; readonly json?: WantedJson } {
  const asked = { ...body, tools: body.tools && !body.tool_choice, functions: body.functions && !body.function_call }
  if (!ignoreUnsupported) refuseFields(asked, REASONS)
  if ((body.n ?? 1) !== 1) throw refusal('n', 'n: expected 1: a flow gives one answer', 'unsupported_value')
  if (body.modalities?.some((modality) => modality !== 'text')) {
    throw refusal('modalities', 'modalities: expected ["text"]: flows answer in text', 'unsupported_value')
  }
  const json = ignoreUnsupported ? undefined : toWantedJson(body.response_format, 'response_format')
  return { conversation: toConversation(body.messages, 'messages'), json }
}
