import type { FieldNames } from '../../../config/provider-settings.ts'
import type { ModelRequest, ModelSettings } from '../../../domain/execution/model-call.ts'
import { capabilitiesOf, fitSettings } from '../../models/model-capabilities.ts'
import { toStructuredSchema } from '../../vendor/json-schema.ts'
import type { LoadedFiles } from '../../vendor/loaded-files.ts'
import { createRequestNotes, type RequestNotes } from '../../vendor/request-notes.ts'
import { type OptionsOwner, withOptions } from '../../vendor/request-options.ts'
import type { OpenAiRequest } from '../answer.ts'
import type { ChatDialect } from '../dialect.ts'
import { addCacheFields } from '../prompt-cache.ts'
import { toCompletionMessages } from './chat-messages.ts'
import { toChatReasoningFields } from './chat-reasoning.ts'
import { toChatToolFields } from './chat-tools.ts'

export interface ChatRequestContext {
  readonly account: OptionsOwner
  readonly dialect: ChatDialect
  readonly files: LoadedFiles
  readonly streams: boolean
}

/**
 * Builds a Chat Completions request. Settings that the model does not accept are left out, with a note. Throws
 * PROVIDER_REJECTED for hosted tools and options that cannot be sent, and for a strict request of which something would
 * be left out.
 */
export function toChatRequest(request: ModelRequest, { account, dialect, files, streams }: ChatRequestContext): OpenAiRequest {
  const { model } = request
  const names = dialect.fieldNamesOf?.(model)
  const notes = createRequestNotes()
  const settings = fitSettings(model, request.settings, notes, names)
  const body: Record<string, unknown> = {
    ...dialect.extraBody,
    model,
    messages: toCompletionMessages(request, { provider: account.id, dialect, files, notes }),
  }
  addSettings(body, settings, { request, dialect, names, notes })
  if (streams) {
    body.stream = true
    if (dialect.asksForStreamUsage) body.stream_options = { include_usage: true }
  }
  if (request.tools || request.hostedTools || request.toolChoice) {
    Object.assign(body, toChatToolFields(request, dialect, account.id, notes))
  }
  if (request.outputSchema) addResponseFormat(body, request, request.outputSchema, dialect, notes)
  notes.checkStrict(request, account.id)
  return { path: '/chat/completions', body: withOptions(body, request, account), notes: notes.list() }
}

interface SettingsContext {
  readonly request: ModelRequest
  readonly dialect: ChatDialect
  readonly names: FieldNames | undefined
  readonly notes: RequestNotes
}

function addSettings(body: Record<string, unknown>, settings: ModelSettings, context: SettingsContext): void {
  const { request, dialect, names, notes } = context
  const { temperature, topP, maxTokens, stopSequences, reasoning, seed, parallelToolCalls } = settings
  if (temperature !== undefined) body[names?.temperature || 'temperature'] = temperature
  if (topP !== undefined) body[names?.topP || 'top_p'] = topP
  if (maxTokens !== undefined) body[names?.maxTokens || maxTokensField(request.model, dialect)] = maxTokens
  if (stopSequences?.length) {
    body[names?.stopSequences || 'stop'] = stopSequences.slice(0, dialect.maxStopSequences)
    if (stopSequences.length > dialect.maxStopSequences) {
      notes.cut('stopSequences', `the first ${dialect.maxStopSequences}`, 'the provider accepts no more')
    }
  }
  if (reasoning !== undefined) {
    Object.assign(body, toChatReasoningFields(reasoning, request.model, dialect, names?.reasoning || 'reasoning_effort', notes))
  }
  if (seed !== undefined) body[names?.seed || (dialect.seedField ?? 'seed')] = seed
  if (parallelToolCalls !== undefined) {
    if (request.tools?.length) body[names?.parallelToolCalls || 'parallel_tool_calls'] = parallelToolCalls
    else notes.add('parallelToolCalls was not sent: the request has no tools')
  }
  addCacheFields(body, request, settings, {
    takesKeys: dialect.cacheKeys,
    marks: dialect.cacheMarks?.(request.model),
    field: names?.cache,
    notes,
  })
}

function maxTokensField(model: string, { maxTokensField }: ChatDialect): string {
  if (maxTokensField !== 'by-model') return maxTokensField
  return capabilitiesOf(model).reasoning ? 'max_completion_tokens' : 'max_tokens'
}

function addResponseFormat(
  body: Record<string, unknown>,
  request: ModelRequest,
  outputSchema: NonNullable<ModelRequest['outputSchema']>,
  { structuredOutput, schemaExcludesTools }: ChatDialect,
  notes: RequestNotes,
): void {
  if (schemaExcludesTools && request.tools?.length) {
    notes.leaveOut('outputSchema', 'the provider takes no schema beside tools; the answer is checked afterwards')
    return
  }
  const knowsSchemas =
    structuredOutput instanceof RegExp ? structuredOutput.test(request.model) : structuredOutput === 'json_schema'
  const structured = toStructuredSchema(outputSchema)
  if (knowsSchemas && structured) {
    const { schema, strict } = structured
    body.response_format = { type: 'json_schema', json_schema: { name: 'answer', schema, strict } }
    if (!strict) notes.add('outputSchema was sent without strict mode: it has parts that strict mode cannot express')
    return
  }
  // json_object allows only objects. With it some vendors respond with 400 or endless white space, unless the prompt
  // mentions JSON.
  if (structuredOutput !== 'none' && structured && mentionsJson(request)) {
    body.response_format = { type: 'json_object' }
    notes.replace('outputSchema', 'json_object', 'the provider has no schemas for this model')
    return
  }
  notes.leaveOut('outputSchema', 'the provider has no structured output for this model or schema')
}

const mentionsJson = ({ system = '', messages }: ModelRequest) =>
  /json/i.test(system) || messages.some((message) => /json/i.test(message.content))
