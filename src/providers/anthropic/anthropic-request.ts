import type { JsonSchema, ModelRequest, ModelSettings } from '../../domain/model-call.ts'
import type { ForeignRecord } from '../foreign-json.ts'

/** Output bound where a step names none: the API requires one. Fits every model since Claude 3 (4,096). */
const DEFAULT_MAX_TOKENS = 4096

/** Since version 2026-10-21 the API refuses temperature and top_p for every model; this one still takes them for older models. */
const VERSION_WITH_SAMPLING = '2023-06-01'

/** The SDK's own `transformJSONSchema`: keywords the API does not know become part of the description. Throws for a part without a type. */
export type TransformSchema = (schema: JsonSchema) => JsonSchema

export interface AnthropicRequest {
  readonly body: ForeignRecord
  readonly headers: Readonly<Record<string, string>>
  readonly notes: readonly string[]
}

/** One Messages API request; settings that the model refuses are mapped or left out, with a note. */
export function toAnthropicRequest(request: ModelRequest, stream: boolean, transform: TransformSchema): AnthropicRequest {
  const { model, system, messages, settings, outputSchema } = request
  const notes: string[] = []
  const sampling = toSampling(model, settings, notes)
  const format = outputSchema && toOutputFormat(model, outputSchema, transform, notes)
  if (settings.maxTokens === undefined)
    notes.push(`max_tokens was set to ${DEFAULT_MAX_TOKENS}, because Anthropic requires a bound`)
  return {
    body: {
      model,
      max_tokens: settings.maxTokens ?? DEFAULT_MAX_TOKENS,
      messages,
      ...(system && { system }),
      ...(settings.stopSequences?.length && { stop_sequences: settings.stopSequences }),
      ...sampling,
      ...(format && { output_config: { format } }),
      ...(stream && { stream }),
    },
    headers: sampling ? { 'anthropic-version': VERSION_WITH_SAMPLING } : {},
    notes,
  }
}

/**
 * Families that are known to behave otherwise than the newest models; everything else counts as newest. First match wins.
 * Sources: platform.claude.com/docs (structured outputs; "temperature and top_p cannot both be specified"; API version 2026-10-21), November 2026.
 */
const OLDER_MODELS: readonly (readonly [pattern: RegExp, abilities: Abilities])[] = [
  [/^claude-(2|instant|3)/, { sampling: 'both', structured: false }],
  [/^claude-(opus|sonnet)-4(-0|-20\d{6})?$/, { sampling: 'both', structured: false }],
  [/^claude-opus-4-1/, { sampling: 'one', structured: false }],
  [/^claude-(opus|sonnet|haiku)-4-[56](-|$)/, { sampling: 'one', structured: true }],
  // Other vendors that speak this API: they follow the older version.
  [/^(?!claude)/, { sampling: 'both', structured: false }],
]

interface Abilities {
  /** Whether temperature and top_p may be sent, and whether both at once. */
  readonly sampling: 'both' | 'one' | 'none'
  /** Takes a JSON Schema as `output_config.format`. */
  readonly structured: boolean
}

const NEWEST: Abilities = { sampling: 'none', structured: true }

function abilitiesOf(model: string): Abilities {
  const name = model.slice(model.lastIndexOf('/') + 1)
  return OLDER_MODELS.find(([pattern]) => pattern.test(name))?.[1] ?? NEWEST
}

function toSampling(model: string, { temperature, topP }: ModelSettings, notes: string[]): ForeignRecord | undefined {
  if (temperature === undefined && topP === undefined) return undefined
  const { sampling } = abilitiesOf(model)
  if (sampling === 'none') {
    for (const name of [temperature !== undefined && 'temperature', topP !== undefined && 'topP'])
      if (name) notes.push(`${name} was left out: ${model} does not accept it`)
    return undefined
  }
  const both = temperature !== undefined && topP !== undefined && sampling === 'both'
  if (topP !== undefined && temperature !== undefined && !both)
    notes.push(`topP was left out: ${model} does not accept it beside temperature`)
  // Other vendors go up to 2, Anthropic refuses more than 1.
  if (temperature !== undefined && temperature > 1)
    notes.push(`temperature ${temperature} was lowered to 1, the highest that Anthropic accepts`)
  return {
    ...(temperature !== undefined && { temperature: Math.min(temperature, 1) }),
    ...(topP !== undefined && (both || temperature === undefined) && { top_p: topP }),
  }
}

function toOutputFormat(
  model: string,
  outputSchema: JsonSchema,
  transform: TransformSchema,
  notes: string[],
): ForeignRecord | undefined {
  const schema = abilitiesOf(model).structured ? toAnthropicSchema(outputSchema, transform) : undefined
  if (!schema) notes.push(`outputSchema was left out: ${model} can not be held to it; the answer is checked afterwards`)
  return schema && { type: 'json_schema', schema }
}

const knownSchemas = new WeakMap<JsonSchema, JsonSchema | 'impossible'>()

function toAnthropicSchema(outputSchema: JsonSchema, transform: TransformSchema): JsonSchema | undefined {
  const known = knownSchemas.get(outputSchema) ?? transformed(outputSchema, transform)
  knownSchemas.set(outputSchema, known)
  return known === 'impossible' ? undefined : known
}

function transformed(outputSchema: JsonSchema, transform: TransformSchema): JsonSchema | 'impossible' {
  try {
    return transform(outputSchema)
  } catch {
    return 'impossible'
  }
}
