import type { JsonSchema, ModelRequest } from '../../domain/execution/model-call.ts'
import type { ForeignRecord } from '../vendor/foreign-json.ts'
import type { LoadedFiles } from '../vendor/loaded-files.ts'
import { createRequestNotes, type RequestNotes } from '../vendor/request-notes.ts'
import { type OptionsOwner, withOptions } from '../vendor/request-options.ts'
import { type CacheMarks, createCacheMarks } from './anthropic-cache.ts'
import { type Block, namesVendorFiles } from './anthropic-files.ts'
import { hasReasoningBeforeResults, toWireMessages } from './anthropic-messages.ts'
import { type AnthropicAbilities, anthropicAbilitiesOf } from './anthropic-models.ts'
import { type ReasoningPlan, toReasoningPlan } from './anthropic-reasoning.ts'
import { toToolChoice, toTools } from './anthropic-tools.ts'

/**
 * Since version 2026-10-21 the API rejects temperature, top_p and top_k for every model. This version accepts them
 * for older models.
 */
const VERSION_WITH_SAMPLING = '2023-06-01'
/** Needed for files that the vendor holds (platform.claude.com/docs/en/build-with-claude/files, November 2026). */
const FILES_BETA = 'files-api-2025-04-14'

/** Least top_p that the API accepts beside reasoning. */
const MIN_REASONING_TOP_P = 0.95

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

export interface AnthropicRequestContext extends OptionsOwner {
  readonly stream: boolean
  readonly transform: TransformSchema
  readonly files: LoadedFiles
}

/**
 * Builds a Messages API request. Settings that the model does not accept are mapped or left out, with a note. Throws
 * PROVIDER_REJECTED for an unknown hosted tool, for options that Polyphony sets itself, and for a strict request of
 * which something would be left out.
 */
export function toAnthropicRequest(request: ModelRequest, context: AnthropicRequestContext): AnthropicRequest {
  const { model, settings } = request
  const { stopSequences } = settings
  const abilities = anthropicAbilitiesOf(model)
  const notes = createRequestNotes()
  const plan = toReasoningPlan(request, abilities, hasReasoningBeforeResults(request, context.id), notes)
  if (settings.maxTokens === undefined) notes.add(`max_tokens was set to ${plan.maxTokens}, because Anthropic requires a limit`)
  if (settings.seed !== undefined) notes.leaveOut('seed', 'Anthropic has none')
  const outputConfig = toOutputConfig(request, abilities, plan, context.transform, notes)
  const body = withOptions(
    {
      model,
      max_tokens: plan.maxTokens,
      ...toPrompt(request, context, notes),
      ...toToolFields(request, plan),
      ...(stopSequences?.length && { stop_sequences: stopSequences }),
      ...toRandomness(request, abilities, plan, notes),
      ...(plan.thinking && { thinking: plan.thinking }),
      ...(outputConfig && { output_config: outputConfig }),
      ...(context.stream && { stream: true }),
    },
    request,
    context,
  )
  notes.checkStrict(request, context.id)
  return { body, headers: toRequestHeaders(request, body), notes: notes.list() }
}

function toRequestHeaders(request: ModelRequest, body: ForeignRecord): Readonly<Record<string, string>> {
  const hasSampling = body.temperature !== undefined || body.top_p !== undefined || body.top_k !== undefined
  return {
    ...(hasSampling && { 'anthropic-version': VERSION_WITH_SAMPLING }),
    ...(namesVendorFiles(request) && { 'anthropic-beta': FILES_BETA }),
  }
}

/** Tools, system and messages, in the order of the prompt, with the marks of the cache. */
function toPrompt(request: ModelRequest, context: AnthropicRequestContext, notes: RequestNotes): ForeignRecord {
  const marks = createCacheMarks(request)
  const tools = request.tools || request.hostedTools ? toTools(request, context.id) : []
  if (tools.length > 0) marks.skip(JSON.stringify(tools).length)
  // What is cached up to the instructions includes the tools before them.
  if (!request.system) marks.offer(tools.at(-1))
  const system = toSystem(request.system, marks)
  const messages = toWireMessages({ request, provider: context.id, files: context.files, marks, notes })
  marks.set()
  return { messages, ...(system && { system }), ...(tools.length > 0 && { tools }) }
}

/** Text, or a block of it if the prompt may be cached up to its end. */
function toSystem(system: string | undefined, marks: CacheMarks): string | readonly Block[] | undefined {
  if (!system || !marks.wants(system.length)) {
    marks.skip(system?.length ?? 0)
    return system
  }
  const block: Block = { type: 'text', text: system }
  marks.skip(system.length)
  marks.offer(block)
  return [block]
}

function toToolFields(request: ModelRequest, { canForceTools }: ReasoningPlan): ForeignRecord | undefined {
  const hasTools = (request.tools?.length ?? 0) + (request.hostedTools?.length ?? 0) > 0
  const choice = hasTools ? toToolChoice(request, canForceTools) : undefined
  return choice && { tool_choice: choice }
}

function toOutputConfig(
  { model, outputSchema }: ModelRequest,
  { structured }: AnthropicAbilities,
  { effort }: ReasoningPlan,
  transform: TransformSchema,
  notes: RequestNotes,
): ForeignRecord | undefined {
  const schema = outputSchema && structured ? toAnthropicSchema(outputSchema, transform) : undefined
  if (outputSchema && !schema) {
    notes.leaveOut('outputSchema', `${model} does not support it; the answer is checked afterwards`)
  }
  if (!schema && !effort) return undefined
  return { ...(effort && { effort }), ...(schema && { format: { type: 'json_schema', schema } }) }
}

/** Beside reasoning the API accepts only the default temperature and a high top_p. */
function toRandomness(
  { model, settings }: ModelRequest,
  { sampling }: AnthropicAbilities,
  { reasons }: ReasoningPlan,
  notes: RequestNotes,
): ForeignRecord | undefined {
  const { topP } = settings
  const temperature = reasons && settings.temperature === 1 ? undefined : settings.temperature
  if (temperature === undefined && topP === undefined) return undefined
  if (sampling === 'none') {
    if (temperature !== undefined) notes.leaveOut('temperature', `${model} does not accept it`)
    if (topP !== undefined) notes.leaveOut('topP', `${model} does not accept it`)
    return undefined
  }
  if (reasons) {
    if (temperature !== undefined) notes.leaveOut('temperature', `${model} does not accept it while it reasons`)
    if (topP === undefined || topP >= MIN_REASONING_TOP_P) return topP === undefined ? undefined : { top_p: topP }
    notes.leaveOut('topP', `${model} accepts at least ${MIN_REASONING_TOP_P} while it reasons`)
    return undefined
  }
  if (temperature === undefined) return { top_p: topP }
  // Other vendors accept up to 2, Anthropic up to 1.
  if (temperature > 1) notes.add(`temperature ${temperature} was lowered to 1, the highest that Anthropic accepts`)
  const allowed = { temperature: Math.min(temperature, 1) }
  if (topP === undefined) return allowed
  if (sampling === 'both') return { ...allowed, top_p: topP }
  notes.leaveOut('topP', `${model} does not accept it beside temperature`)
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
