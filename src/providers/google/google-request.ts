import type { JsonSchema, ModelRequest } from '../../domain/execution/model-call.ts'
import type { ForeignRecord } from '../vendor/foreign-json.ts'
import type { LoadedFiles } from '../vendor/loaded-files.ts'
import { createRequestNotes, type RequestNotes } from '../vendor/request-notes.ts'
import { type OptionsOwner, withOptions } from '../vendor/request-options.ts'
import { type Content, toContents, toTextContent } from './google-contents.ts'
import { type GoogleAbilities, googleAbilitiesOf } from './google-models.ts'
import { toThinkingConfig } from './google-thinking.ts'
import { toToolFields } from './google-tools.ts'

/** Source: ai.google.dev/api/generate-content, GenerationConfig, November 2026. */
const MAX_STOP_SEQUENCES = 5

export interface GoogleRequest {
  readonly body: ForeignRecord
  readonly notes: readonly string[]
}

export interface GoogleRequestContext extends OptionsOwner {
  readonly files: LoadedFiles
}

/**
 * Builds a generateContent request. Settings that the model does not accept are mapped or left out, with a note.
 * Throws PROVIDER_REJECTED for hosted tools that cannot be used, for options that Polyphony sets itself, and for a
 * strict request of which something would be left out.
 */
export function toGoogleRequest(request: ModelRequest, context: GoogleRequestContext): GoogleRequest {
  const { model, system, settings } = request
  const { temperature, topP, maxTokens, stopSequences, seed, cache } = settings
  const abilities = googleAbilitiesOf(model)
  const notes = createRequestNotes()
  const thinkingConfig = toThinkingConfig(request, abilities, notes)
  const generationConfig = {
    ...(temperature !== undefined && { temperature }),
    ...(topP !== undefined && { topP }),
    ...(maxTokens !== undefined && { maxOutputTokens: maxTokens }),
    ...(seed !== undefined && { seed }),
    ...(stopSequences?.length && { stopSequences: stopSequences.slice(0, MAX_STOP_SEQUENCES) }),
    ...(thinkingConfig && { thinkingConfig }),
    ...toJsonMode(request, abilities, notes),
  }
  if (stopSequences && stopSequences.length > MAX_STOP_SEQUENCES)
    notes.cut('stopSequences', `the first ${MAX_STOP_SEQUENCES}`, 'Gemini accepts no more')
  if (typeof cache === 'object') notes.leaveOut('cache.ttl', 'Gemini caches by itself and lets no lifetime be set per request')
  const body = withOptions(
    {
      ...toPrompt(system, toContents({ request, provider: context.id, files: context.files, notes }), model, abilities, notes),
      ...toToolFields(request, context.id, abilities, notes),
      generationConfig,
    },
    request,
    context,
  )
  notes.checkStrict(request, context.id)
  return { body, notes: notes.list() }
}

function toPrompt(
  system: string | undefined,
  contents: readonly Content[],
  model: string,
  abilities: GoogleAbilities,
  notes: RequestNotes,
): ForeignRecord {
  if (!system) return { contents }
  if (abilities.system) return { contents, systemInstruction: toTextContent('system', system) }
  notes.add(`system was sent as the first user message: ${model} takes no system instruction`)
  return { contents: [toTextContent('user', system), ...contents] }
}

function toJsonMode(
  { model, outputSchema, tools, hostedTools }: ModelRequest,
  { json, combines }: GoogleAbilities,
  notes: RequestNotes,
): ForeignRecord | undefined {
  if (!outputSchema) return undefined
  const hasTools = (tools?.length ?? 0) + (hostedTools?.length ?? 0) > 0
  if (hasTools && !combines) {
    notes.leaveOut('outputSchema', `${model} does not support it beside tools; the answer is checked afterwards`)
    return undefined
  }
  if (json === 'schema') return { responseMimeType: 'application/json', responseJsonSchema: withoutDialect(outputSchema) }
  notes.leaveOut('outputSchema', `${model} does not support it; the answer is checked afterwards`)
  return json === 'plain' ? { responseMimeType: 'application/json' } : undefined
}

const withoutDialect = ({ $schema: _dialect, ...schema }: JsonSchema): JsonSchema => schema
