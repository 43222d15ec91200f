import type { JsonSchema, ModelRequest, ModelSettings } from '../../domain/execution/model-call.ts'
import type { ForeignRecord } from '../vendor/foreign-json.ts'

/**
 * Since version 2026-10-21 the API rejects temperature and top_p for every model. This version accepts them for older
 * models.
 */
const VERSION_WITH_SAMPLING = '2023-06-01'

interface Abilities {
  /** Whether temperature and top_p may be sent together, only one of them, or none. */
  readonly sampling: 'both' | 'one' | 'none'
  /** Whether the model accepts a JSON Schema as `output_config.format`. */
  readonly structured: boolean
  /** Maximum number of output tokens for steps without `settings.maxTokens`, because the API requires one. */
  readonly defaultMaxTokens: number
}

const NEWEST: Abilities = { sampling: 'none', structured: true, defaultMaxTokens: 8192 }

/**
 * Model families that differ from the newest models. The first match counts; other models are treated as newest.
 * Sources: platform.claude.com/docs (models, structured outputs, version 2026-10-21; the API's own answer "temperature
 * and top_p cannot both be specified for this model"), November 2026.
 */
const OTHER_MODELS: readonly (readonly [pattern: RegExp, abilities: Abilities])[] = [
  [/^claude-(2|instant|3-(opus|sonnet|haiku))/, { sampling: 'both', structured: false, defaultMaxTokens: 4096 }],
  [/^claude-(3|(opus|sonnet)-4(-0|-20\d{6})?$)/, { sampling: 'both', structured: false, defaultMaxTokens: 8192 }],
  [/^claude-opus-4-1/, { sampling: 'one', structured: false, defaultMaxTokens: 8192 }],
  [/^claude-(opus|sonnet|haiku)-4-[56](-|$)/, { sampling: 'one', structured: true, defaultMaxTokens: 8192 }],
  // Other vendors implement the older version of this API.
  [/^(?!claude)/, { sampling: 'both', structured: false, defaultMaxTokens: 4096 }],
]

function abilitiesOf(model: string): Abilities {
  const name = model.slice(model.lastIndexOf('/') + 1)
  return OTHER_MODELS.find(([pattern]) => pattern.test(name))?.[1] ?? NEWEST
}

/**
 * The SDK's `transformJSONSchema`, which moves unsupported keywords into the description. Throws for a subschema
 * without a type.
 */
export type TransformSchema = (schema: JsonSchema) => JsonSchema

export interface AnthropicRequest {
  readonly body: ForeignRecord
  readonly headers: Readonly<Record<string, string>>
  readonly notes: readonly string[]
}

/** Builds a Messages API request. Settings that the model does not accept are mapped or left out, with a note. */
export function toAnthropicRequest(request: ModelRequest, stream: boolean, transform: TransformSchema): AnthropicRequest {
  const { model, system, messages, settings, outputSchema } = request
  const { sampling, structured, defaultMaxTokens } = abilitiesOf(model)
  const notes: string[] = []
  const { maxTokens = defaultMaxTokens, stopSequences } = settings
  if (settings.maxTokens === undefined) notes.push(`max_tokens was set to ${maxTokens}, because Anthropic requires a limit`)
  const randomness = toRandomness(model, settings, sampling, notes)
  const schema = outputSchema && structured ? toAnthropicSchema(outputSchema, transform) : undefined
  if (outputSchema && !schema) {
    notes.push(`outputSchema was left out: ${model} does not support it; the answer is checked afterwards`)
  }
  return {
    body: {
      model,
      max_tokens: maxTokens,
      messages,
      ...(system && { system }),
      ...(stopSequences?.length && { stop_sequences: stopSequences }),
      ...randomness,
      ...(schema && { output_config: { format: { type: 'json_schema', schema } } }),
      ...(stream && { stream }),
    },
    headers: randomness ? { 'anthropic-version': VERSION_WITH_SAMPLING } : {},
    notes,
  }
}

function toRandomness(
  model: string,
  { temperature, topP }: ModelSettings,
  sampling: Abilities['sampling'],
  notes: string[],
): ForeignRecord | undefined {
  if (temperature === undefined && topP === undefined) return undefined
  if (sampling === 'none') {
    if (temperature !== undefined) notes.push(`temperature was left out: ${model} does not accept it`)
    if (topP !== undefined) notes.push(`topP was left out: ${model} does not accept it`)
    return undefined
  }
  if (temperature === undefined) return { top_p: topP }
  // Other vendors accept up to 2, Anthropic up to 1.
  if (temperature > 1) notes.push(`temperature ${temperature} was lowered to 1, the highest that Anthropic accepts`)
  const allowed = { temperature: Math.min(temperature, 1) }
  if (topP === undefined) return allowed
  if (sampling === 'both') return { ...allowed, top_p: topP }
  notes.push(`topP was left out: ${model} does not accept it beside temperature`)
  return allowed
}

const UNFIT = 'unfit'
const knownSchemas = new WeakMap<JsonSchema, JsonSchema | typeof UNFIT>()

function toAnthropicSchema(outputSchema: JsonSchema, transform: TransformSchema): JsonSchema | undefined {
  const schema = knownSchemas.get(outputSchema) ?? transformOrUnfit(outputSchema, transform)
  knownSchemas.set(outputSchema, schema)
  return schema === UNFIT ? undefined : schema
}

function transformOrUnfit(outputSchema: JsonSchema, transform: TransformSchema): JsonSchema | typeof UNFIT {
  try {
    return transform(outputSchema)
  } catch {
    return UNFIT
  }
}
