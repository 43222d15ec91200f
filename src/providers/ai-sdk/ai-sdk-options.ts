import { findEngineFields, toEngineFieldProblem } from '../../domain/definition/call/request-options.ts'
import type { ModelRequest } from '../../domain/execution/model-call.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import { type ForeignRecord, isRecord } from '../vendor/foreign-json.ts'
import { withOptions } from '../vendor/request-options.ts'

/**
 * The `providerOptions` of a call: those of the step for the kind `ai-sdk`, and over them those for the id of the
 * provider; undefined without any. The AI SDK has them in one record per vendor. Throws PROVIDER_REJECTED for a field
 * that Polyphony sets itself, in whichever spelling.
 */
export function toProviderOptions(request: ModelRequest, id: string): ForeignRecord | undefined {
  const merged = withOptions({}, request, { id, kind: 'ai-sdk' })
  for (const [vendor, options] of Object.entries(merged)) {
    if (!isRecord(options)) continue
    const [refused] = findEngineFields(Object.fromEntries(Object.entries(options).filter(([, value]) => value !== false)))
    if (!refused) continue
    const option = `settings.options.${id}.${vendor}.${refused.path.join('.')}`
    throw new OrchestratorError('PROVIDER_REJECTED', `${option}: ${toEngineFieldProblem(refused)}`, {
      details: { provider: id, option },
    })
  }
  return Object.keys(merged).length === 0 ? undefined : merged
}
