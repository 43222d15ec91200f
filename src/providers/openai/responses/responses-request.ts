import type { FieldNames } from '../../../config/provider-settings.ts'
import type { ModelRequest, ModelSettings } from '../../../domain/execution/model-call.ts'
import { capabilitiesOf, fitSettings } from '../../models/model-capabilities.ts'
import { toStructuredSchema } from '../../vendor/json-schema.ts'
import type { LoadedFiles } from '../../vendor/loaded-files.ts'
import { createRequestNotes, type RequestNotes } from '../../vendor/request-notes.ts'
import { type OptionsOwner, withOptions } from '../../vendor/request-options.ts'
import type { OpenAiRequest } from '../answer.ts'
import { toEffortWord } from '../chat/chat-reasoning.ts'
import { addCacheFields } from '../prompt-cache.ts'
import { toResponsesInput } from './responses-input.ts'
import { addToolFields } from './responses-tools.ts'

/** The API rejects smaller limits (platform.openai.com/docs/api-reference/responses/create, 2026-11). */
const MIN_OUTPUT_TOKENS = 16

export interface ResponsesRequestContext {
  readonly account: OptionsOwner
  readonly names: FieldNames | undefined
  readonly files: LoadedFiles
  readonly streams: boolean
}

/**
 * Builds a request of the Responses API, with `store: false` so that the vendor stores no answers. Throws as
 * `toChatRequest` does.
 */
export function toResponsesRequest(
  request: ModelRequest,
  { account, names, files, streams }: ResponsesRequestContext,
): OpenAiRequest {
  const { model, outputSchema } = request
  const notes = createRequestNotes()
  const settings = fitSettings(model, request.settings, notes, names)
  const input = toResponsesInput(request, { provider: account.id, files, notes })
  const body: Record<string, unknown> = { model, input, store: false }
  if (request.system !== undefined) body.instructions = request.system
  addSettings(body, settings, request, names, notes)
  const include = addToolFields(body, request, account.id, notes)
  // Nothing is stored, so the reasoning behind a tool call must come back in the next request, encrypted.
  const reasons = request.tools?.length && capabilitiesOf(model).reasoning
  if (reasons || include.length > 0) body.include = [...(reasons ? ['reasoning.encrypted_content'] : []), ...include]
  const structured = outputSchema && toStructuredSchema(outputSchema)
  if (structured) {
    const { schema, strict } = structured
    body.text = { format: { type: 'json_schema', name: 'answer', schema, strict } }
    if (!strict) notes.add('outputSchema was sent without strict mode: it has parts that strict mode cannot express')
  }
  if (outputSchema && !structured) notes.leaveOut('outputSchema', 'only objects can be enforced')
  if (streams) body.stream = true
  notes.checkStrict(request, account.id)
  return { path: '/responses', body: withOptions(body, request, account), notes: notes.list() }
}

function addSettings(
  body: Record<string, unknown>,
  settings: ModelSettings,
  request: ModelRequest,
  names: FieldNames | undefined,
  notes: RequestNotes,
): void {
  const { temperature, topP, maxTokens, stopSequences, reasoning, seed, parallelToolCalls } = settings
  if (temperature !== undefined) body[names?.temperature || 'temperature'] = temperature
  if (topP !== undefined) body[names?.topP || 'top_p'] = topP
  if (maxTokens !== undefined) {
    body[names?.maxTokens || 'max_output_tokens'] = Math.max(maxTokens, MIN_OUTPUT_TOKENS)
    if (maxTokens < MIN_OUTPUT_TOKENS) notes.add(`maxTokens was raised to ${MIN_OUTPUT_TOKENS}: the provider refuses less`)
  }
  if (stopSequences?.length) notes.leaveOut('stopSequences', 'the Responses API has none')
  if (reasoning !== undefined) {
    const effort = toEffortWord(reasoning, request.model, undefined, notes)
    // Without a summary the API sends no text of its reasoning.
    const summary = effort !== 'none' && { summary: 'auto' }
    if (effort !== undefined) body[names?.reasoning || 'reasoning'] = { effort, ...summary }
  }
  if (seed !== undefined) {
    if (names?.seed) body[names.seed] = seed
    else notes.leaveOut('seed', 'the Responses API has none')
  }
  if (parallelToolCalls !== undefined) {
    if (request.tools?.length) body[names?.parallelToolCalls || 'parallel_tool_calls'] = parallelToolCalls
    else notes.add('parallelToolCalls was not sent: the request has no tools')
  }
  addCacheFields(body, request, settings, { takesKeys: true, field: names?.cache, notes })
}
