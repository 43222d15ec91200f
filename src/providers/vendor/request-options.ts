import { findEngineFields, toEngineFieldProblem } from '../../domain/definition/call/request-options.ts'
import type { ModelRequest } from '../../domain/execution/model-call.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import { type ForeignRecord, isRecord } from './foreign-json.ts'

/** The account whose options apply. */
export interface OptionsOwner {
  readonly id: string
  /** Kind of the adapter. */
  readonly kind: string
  /** Options of the account itself. */
  readonly options?: ForeignRecord
}

/**
 * The body with all options merged last, in rising precedence: those of the account, the step's for the kind, the
 * step's for the provider id. Returns the same object if there are none. Throws PROVIDER_REJECTED for a field that
 * Polyphony sets itself: requests may come from code that no parser checked.
 */
export function withOptions(body: ForeignRecord, { settings }: ModelRequest, owner: OptionsOwner): ForeignRecord {
  const ofStep = settings.options
  if (!ofStep && !owner.options) return body
  let merged = body
  for (const [name, options] of [
    [`providers.${owner.id}.options`, owner.options],
    [`settings.options.${owner.kind}`, ofStep && ownValueOf(ofStep, owner.kind)],
    [`settings.options.${owner.id}`, owner.id === owner.kind ? undefined : ofStep && ownValueOf(ofStep, owner.id)],
  ] as const) {
    if (!options) continue
    const [refused] = findEngineFields(options)
    if (refused) throw toRefusal(owner.id, `${name}.${refused.path.join('.')}`, toEngineFieldProblem(refused))
    merged = mergeOptions(merged, options)
  }
  return merged
}

const ownValueOf = (options: NonNullable<ModelRequest['settings']['options']>, name: string): ForeignRecord | undefined =>
  Object.hasOwn(options, name) ? options[name] : undefined

const toRefusal = (provider: string, path: string, problem: string): OrchestratorError =>
  new OrchestratorError('PROVIDER_REJECTED', `${path}: ${problem}`, { details: { provider, option: path } })

/**
 * The body with the options merged last: objects are merged field by field at every depth; anything else, lists
 * included, is replaced. Neither argument is changed.
 */
function mergeOptions(body: ForeignRecord, options: ForeignRecord): ForeignRecord {
  const merged = new Map(Object.entries(body))
  for (const [name, value] of Object.entries(options)) {
    const known = merged.get(name)
    merged.set(name, isRecord(known) && isRecord(value) ? mergeOptions(known, value) : value)
  }
  return Object.fromEntries(merged)
}
