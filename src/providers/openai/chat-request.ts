import type { ModelRequest } from '../../domain/execution/model-call.ts'
import { capabilitiesOf, fitSettings } from '../models/model-capabilities.ts'
import { toStructuredSchema } from '../vendor/json-schema.ts'
import type { OpenAiRequest } from './answer.ts'
import type { ChatDialect } from './dialect.ts'

/** Builds a Chat Completions request. Settings that the model does not accept are left out, with a note. */
export function toChatRequest(request: ModelRequest, streams: boolean, dialect: ChatDialect): OpenAiRequest {
  const names = dialect.fieldNamesOf?.(request.model)
  const { settings, notes } = fitSettings(request.model, request.settings, names)
  const { system, messages } = request
  const body: Record<string, unknown> = {
    ...dialect.extraBody,
    model: request.model,
    messages: system === undefined ? messages : [{ role: 'system', content: system }, ...messages],
  }
  if (settings.temperature !== undefined) body[names?.temperature || 'temperature'] = settings.temperature
  if (settings.topP !== undefined) body[names?.topP || 'top_p'] = settings.topP
  if (settings.maxTokens !== undefined) body[names?.maxTokens || maxTokensField(request.model, dialect)] = settings.maxTokens
  const stop = settings.stopSequences?.slice(0, dialect.maxStopSequences)
  if (stop?.length) body[names?.stopSequences || 'stop'] = stop
  if (streams) {
    body.stream = true
    if (dialect.asksForStreamUsage) body.stream_options = { include_usage: true }
  }
  const allNotes = [...notes, ...addResponseFormat(body, request, dialect)]
  if (stop && settings.stopSequences && stop.length < settings.stopSequences.length) {
    allNotes.push(`stopSequences was cut to the first ${stop.length}: the provider accepts no more`)
  }
  return { path: '/chat/completions', body, notes: allNotes }
}

function maxTokensField(model: string, { maxTokensField }: ChatDialect): string {
  if (maxTokensField !== 'by-model') return maxTokensField
  return capabilitiesOf(model).reasoning ? 'max_completion_tokens' : 'max_tokens'
}

function addResponseFormat(body: Record<string, unknown>, request: ModelRequest, dialect: ChatDialect): readonly string[] {
  if (!request.outputSchema) return []
  const { structuredOutput } = dialect
  const knowsSchemas =
    structuredOutput instanceof RegExp ? structuredOutput.test(request.model) : structuredOutput === 'json_schema'
  const structured = toStructuredSchema(request.outputSchema)
  if (knowsSchemas && structured) {
    const { schema, strict } = structured
    body.response_format = { type: 'json_schema', json_schema: { name: 'answer', schema, strict } }
    return strict ? [] : ['outputSchema was sent without strict mode: it has parts that strict mode cannot express']
  }
  // json_object allows only objects. With it some vendors respond with 400 or endless white space, unless the prompt
  // mentions JSON.
  if (structuredOutput !== 'none' && structured && mentionsJson(request)) {
    body.response_format = { type: 'json_object' }
    return ['outputSchema was sent as json_object: the provider has no schemas for this model']
  }
  return ['outputSchema was left out: the provider has no structured output for this model or schema']
}

const mentionsJson = ({ system = '', messages }: ModelRequest) =>
  /json/i.test(system) || messages.some((message) => /json/i.test(message.content))
