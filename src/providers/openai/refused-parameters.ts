import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import type { OpenAiRequest } from './answer.ts'

/** What was learnt of one field: the name that the server takes instead, or that it takes none. */
type Mend = string | false

/** Remembers, for one account, which fields of a request its server refused by name, for each model. */
export interface RefusedParameters {
  /** The request as the server takes it, with a note for each change; the request itself where nothing was refused. */
  fit(model: string, request: OpenAiRequest): OpenAiRequest
  /** Learns from the error that answered a request. True where the request, fitted anew, is another one and should be sent again. */
  learn(model: string, sent: OpenAiRequest, error: unknown): boolean
}

/** What a request can do without. Its output bound is never left out: a limit of the flow may rest on it. */
const LEFT_OUT = new Set(['stream_options', 'temperature', 'top_p', 'stop', 'response_format', 'text', 'usage', 'store'])
/** Fields of the whole account, not of one model. */
const OF_THE_ACCOUNT = new Set(['stream_options', 'usage', 'store'])
const OTHER_BOUNDS: Readonly<Record<string, string>> = {
  max_tokens: 'max_completion_tokens',
  max_completion_tokens: 'max_tokens',
  max_output_tokens: 'max_tokens',
}
const MAX_MODELS = 1_000

export function createRefusedParameters(): RefusedParameters {
  const ofTheAccount = new Map<string, Mend>()
  const byModel = new Map<string, Map<string, Mend>>()

  function mendsOf(model: string): Map<string, Mend> {
    const known = byModel.get(model)
    if (known) return known
    const oldest = byModel.size >= MAX_MODELS ? byModel.keys().next().value : undefined
    if (oldest !== undefined) byModel.delete(oldest)
    const mends = new Map<string, Mend>()
    byModel.set(model, mends)
    return mends
  }

  return {
    fit(model, request) {
      if (ofTheAccount.size === 0 && byModel.size === 0) return request
      const mends = [...ofTheAccount, ...(byModel.get(model) ?? [])].filter(([field]) => field in request.body)
      return mends.length === 0 ? request : mended(request, mends, model)
    },
    learn(model, { body }, error) {
      if (!OrchestratorError.is(error) || error.code !== 'PROVIDER_REJECTED') return false
      const { refusedParameter: field, useInstead } = error.details
      if (typeof field !== 'string' || !(field in body)) return false
      if (LEFT_OUT.has(field)) {
        const mends = OF_THE_ACCOUNT.has(field) ? ofTheAccount : mendsOf(model)
        mends.set(field, false)
        return true
      }
      const other = typeof useInstead === 'string' && useInstead in OTHER_BOUNDS ? useInstead : OTHER_BOUNDS[field]
      // Refused under both names: what was learnt first came from this server too, and led nowhere.
      if (other === undefined || other === field || mendsOf(model).get(other) === field) return false
      mendsOf(model).set(field, other)
      return true
    },
  }
}

function mended({ path, body, notes }: OpenAiRequest, mends: readonly (readonly [string, Mend])[], model: string): OpenAiRequest {
  const changes = new Map(mends)
  const kept = Object.entries(body).flatMap(([field, value]) => {
    const mend = changes.get(field)
    return mend === false ? [] : [[mend ?? field, value] as const]
  })
  const changed = mends.map(([field, mend]) =>
    mend === false
      ? `${field} was left out: the provider refuses it for ${model}`
      : `${field} was sent as ${mend}: the provider asks for it for ${model}`,
  )
  return { path, body: Object.fromEntries(kept), notes: [...notes, ...changed] }
}
