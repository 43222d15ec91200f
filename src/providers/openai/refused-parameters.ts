import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import type { OpenAiRequest } from './answer.ts'

/** The field name that the server accepts instead, or false if the field must be left out. */
type Adjustment = string | false

/** Remembers for one account which request fields its server rejected by name, per model. */
export interface RefusedParameters {
  /**
   * Renames or drops the rejected fields of a request, with a note for each. Returns the same object if there are none.
   */
  adjust(model: string, request: OpenAiRequest): OpenAiRequest
  /** Learns from the error of a request. Returns true if the request should be adjusted and sent again. */
  learn(model: string, sent: OpenAiRequest, error: unknown): boolean
}

/** Optional fields. The limit of output tokens is not among them, because limits of the flow depend on it. */
const LEFT_OUT = new Set(['stream_options', 'temperature', 'top_p', 'stop', 'response_format', 'text', 'usage', 'store'])
/** Fields that a server rejects for every model. */
const OF_THE_ACCOUNT = new Set(['stream_options', 'usage', 'store'])
const OTHER_BOUNDS: Readonly<Record<string, string>> = {
  max_tokens: 'max_completion_tokens',
  max_completion_tokens: 'max_tokens',
  max_output_tokens: 'max_tokens',
}
const MAX_MODELS = 1_000

export function createRefusedParameters(): RefusedParameters {
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
    adjust(model, request) {
      if (ofTheAccount.size === 0 && byModel.size === 0) return request
      const adjustments = [...ofTheAccount, ...(byModel.get(model) ?? [])].filter(([field]) => field in request.body)
      return adjustments.length === 0 ? request : applyAdjustments(request, adjustments, model)
    },
    learn(model, { body }, error) {
      if (!OrchestratorError.is(error) || error.code !== 'PROVIDER_REJECTED') return false
      const { refusedParameter: field, useInstead } = error.details
      if (typeof field !== 'string' || !(field in body)) return false
      if (LEFT_OUT.has(field)) {
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
  model: string,
): OpenAiRequest {
  const changes = new Map(adjustments)
  const kept = Object.entries(body).flatMap(([field, value]) => {
    const adjustment = changes.get(field)
    return adjustment === false ? [] : [[adjustment ?? field, value] as const]
  })
  const changed = adjustments.map(([field, adjustment]) =>
    adjustment === false
      ? `${field} was left out: the provider refuses it for ${model}`
      : `${field} was sent as ${adjustment}: the provider asks for it for ${model}`,
  )
  return { path, body: Object.fromEntries(kept), notes: [...notes, ...changed] }
}
