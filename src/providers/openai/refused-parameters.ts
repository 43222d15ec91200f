import type { ModelRequest } from '../../domain/execution/model-call.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import { isRecord } from '../vendor/foreign-json.ts'
import { createRequestNotes } from '../vendor/request-notes.ts'
import type { OpenAiRequest } from './answer.ts'

/** The field name that the server accepts instead, or false if the field must be left out. */
type Adjustment = string | false

/** Remembers for one account which request fields its server rejected by name, per model. */
export interface RefusedParameters {
  /**
   * Renames or drops the rejected fields of a request, with a note for each. Returns the same object if there are none.
   * Throws PROVIDER_REJECTED if a strict request would lose a field that its step asks for.
   */
  adjust(request: ModelRequest, outgoing: OpenAiRequest): OpenAiRequest
  /** Learns from the error of a request. Returns true if the request should be adjusted and sent again. */
  learn(request: ModelRequest, sent: OpenAiRequest, error: unknown): boolean
}

/** Fields that Polyphony adds by itself, so that no step loses anything without them. */
const ADDED = [
  ...['stream_options', 'usage', 'store', 'include', 'prompt_cache_key', 'prompt_cache_retention', 'reasoning.summary'],
]
/** Optional fields. The limit of output tokens is not among them, because limits of the flow depend on it. */
const LEFT_OUT = new Set([
  ...ADDED,
  ...['temperature', 'top_p', 'stop', 'response_format', 'text', 'seed', 'random_seed', 'parallel_tool_calls'],
  ...['reasoning_effort', 'reasoning', 'thinking', 'chat_template_kwargs'],
])
const NOT_ASKED_FOR: ReadonlySet<string> = new Set(ADDED)
/** Fields that a server rejects for every model. */
const OF_THE_ACCOUNT = new Set(['stream_options', 'usage', 'store', 'prompt_cache_key'])
const OTHER_BOUNDS: Readonly<Record<string, string>> = {
  max_tokens: 'max_completion_tokens',
  max_completion_tokens: 'max_tokens',
  max_output_tokens: 'max_tokens',
}
const MAX_MODELS = 1_000

/** `provider`: id of the account. */
export function createRefusedParameters(provider: string): RefusedParameters {
  const ofTheAccount = new Map<string, Adjustment>()
  const byModel = new Map<string, Map<string, Adjustment>>()

  function adjustmentsOf(model: string): Map<string, Adjustment> {
    const known = byModel.get(model)
    if (known) return known
    const oldest = byModel.size >= MAX_MODELS ? byModel.keys().next().value : undefined
    if (oldest !== undefined) byModel.delete(oldest)
    const adjustments = new Map<string, Adjustment>()
    byModel.set(model, adjustments)
    return adjustments
  }

  return {
    adjust(request, outgoing) {
      if (ofTheAccount.size === 0 && byModel.size === 0) return outgoing
      const adjustments = [...ofTheAccount, ...(byModel.get(request.model) ?? [])].filter(([field]) =>
        hasField(outgoing.body, field),
      )
      return adjustments.length === 0 ? outgoing : applyAdjustments(outgoing, adjustments, request, provider)
    },
    learn({ model, strict }, { body }, error) {
      if (!OrchestratorError.is(error) || error.code !== 'PROVIDER_REJECTED') return false
      const { refusedParameter: field, useInstead } = error.details
      if (typeof field !== 'string' || !hasField(body, field)) return false
      if (LEFT_OUT.has(field)) {
        if (strict && !NOT_ASKED_FOR.has(field)) return false
        const adjustments = OF_THE_ACCOUNT.has(field) ? ofTheAccount : adjustmentsOf(model)
        adjustments.set(field, false)
        return true
      }
      const other = typeof useInstead === 'string' && useInstead in OTHER_BOUNDS ? useInstead : OTHER_BOUNDS[field]
      // A server that rejected both names would otherwise be sent one after the other forever.
      if (other === undefined || other === field || adjustmentsOf(model).get(other) === field) return false
      adjustmentsOf(model).set(field, other)
      return true
    },
  }
}

function applyAdjustments(
  { path, body, notes }: OpenAiRequest,
  adjustments: readonly (readonly [string, Adjustment])[],
  request: ModelRequest,
  provider: string,
): OpenAiRequest {
  const { model } = request
  const made = createRequestNotes()
  let changed = body
  for (const [field, adjustment] of adjustments) {
    changed = changeField(changed, field, adjustment)
    if (adjustment !== false) made.add(`${field} was sent as ${adjustment}: the provider asks for it for ${model}`)
    else if (NOT_ASKED_FOR.has(field)) made.add(`${field} was left out: the provider refuses it for ${model}`)
    else made.leaveOut(field, `the provider refuses it for ${model}`)
  }
  made.checkStrict(request, provider)
  return { path, body: changed, notes: [...notes, ...made.list()] }
}

/** Whether the body has the field. A dot separates the name of an object from that of its field. */
function hasField(body: OpenAiRequest['body'], field: string): boolean {
  const [outer = '', inner] = field.split('.')
  if (inner === undefined) return outer in body
  const value = body[outer]
  return isRecord(value) && inner in value
}

function changeField(body: OpenAiRequest['body'], field: string, adjustment: Adjustment): OpenAiRequest['body'] {
  const [outer = '', inner] = field.split('.')
  return Object.fromEntries(
    Object.entries(body).flatMap(([name, value]) => {
      if (name !== outer) return [[name, value] as const]
      if (inner !== undefined && isRecord(value)) return [[name, changeField(value, inner, adjustment)] as const]
      return adjustment === false ? [] : [[adjustment, value] as const]
    }),
  )
}
