import * as z from 'zod'
import { type Conversation, sentMessages, toConversation, toResults } from '../content/conversation.ts'
import type { SentResult } from '../content/tool-messages.ts'
import { refusal } from '../request-errors.ts'
import { type RequestedTools, sentToolChoice, sentTools, toRequestedTools } from '../tools/requested-tools.ts'
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
  tools: sentTools,
  tool_choice: sentToolChoice,
  parallel_tool_calls: z.boolean().nullish(),
  functions: unsupported,
  function_call: noChoice,
  audio: unsupported,
  web_search_options: unsupported,
})
export type ChatRequest = z.output<typeof chatRequest>

const REASONS = {
  functions: 'use tools',
  audio: 'flows answer in text',
  web_search_options: 'the steps of a flow name the tools of vendors',
}

export interface ParseOptions {
  /** Whether to ignore fields that flows do not support, as long as the answer is useful without them. */
  readonly ignoreUnsupported: boolean
}

/** What a request asks for: a new flow for a conversation, or the continuation of one with the results of its calls. */
export type ParsedRequest =
  | {
      readonly conversation: Conversation
      readonly json?: WantedJson | undefined
      readonly tools?: RequestedTools | undefined
      readonly results?: never
    }
  | { readonly results: readonly SentResult[]; readonly json?: WantedJson | undefined }

/**
 * The conversation of a request, its tools, and the JSON that it demands as its answer. Throws INPUT_INVALID with the
 * field that flows do not support.
 */
export function parseChatRequest(body: ChatRequest, { ignoreUnsupported }: ParseOptions): ParsedRequest {
  const asked = { ...body, functions: body.functions && !body.function_call }
  if (!ignoreUnsupported) refuseFields(asked, REASONS)
  if ((body.n ?? 1) !== 1) throw refusal('n', 'n: expected 1: a flow gives one answer', 'unsupported_value')
  if (body.modalities?.some((modality) => modality !== 'text')) {
    throw refusal('modalities', 'modalities: expected ["text"]: flows answer in text', 'unsupported_value')
  }
  const json = ignoreUnsupported ? undefined : toWantedJson(body.response_format, 'response_format')
  const results = toResults(body.messages, 'messages')
  if (results) return { results, json }
  return { conversation: toConversation(body.messages, 'messages'), json, tools: toRequestedTools(body, ignoreUnsupported) }
}
