import type { FieldNames } from '../../config/provider-settings.ts'
import type { ModelRequest } from '../../domain/execution/model-call.ts'
import { fitSettings } from '../models/model-capabilities.ts'
import { toStructuredSchema } from '../vendor/json-schema.ts'
import type { OpenAiRequest } from './answer.ts'

/** The API rejects smaller limits (platform.openai.com/docs/api-reference/responses/create, 2026-11). */
const MIN_OUTPUT_TOKENS = 16

/** Builds a request of the Responses API, with `store: false` so that the vendor stores no answers. */
export function toResponsesRequest(request: ModelRequest, streams: boolean, names?: FieldNames): OpenAiRequest {
  const { settings, notes } = fitSettings(request.model, request.settings, names)
  const body: Record<string, unknown> = { model: request.model, input: request.messages, store: false }
  const allNotes = [...notes]
  if (request.system !== undefined) body.instructions = request.system
  if (settings.temperature !== undefined) body[names?.temperature || 'temperature'] = settings.temperature
  if (settings.topP !== undefined) body[names?.topP || 'top_p'] = settings.topP
  if (settings.maxTokens !== undefined) {
    body[names?.maxTokens || 'max_output_tokens'] = Math.max(settings.maxTokens, MIN_OUTPUT_TOKENS)
    if (settings.maxTokens < MIN_OUTPUT_TOKENS)
      allNotes.push(`maxTokens was raised to ${MIN_OUTPUT_TOKENS}: the provider refuses less`)
  }
  if (settings.stopSequences?.length) allNotes.push('stopSequences was left out: the Responses API has none')
  const structured = request.outputSchema && toStructuredSchema(request.outputSchema)
  if (structured) {
    const { schema, strict } = structured
    body.text = { format: { type: 'json_schema', name: 'answer', schema, strict } }
    if (!strict) allNotes.push('outputSchema was sent without strict mode: it has parts that strict mode cannot express')
  }
  if (request.outputSchema && !structured) allNotes.push('outputSchema was left out: only objects can be enforced')
  if (streams) body.stream = true
  return { path: '/responses', body, notes: allNotes }
}
