import type { ModelSettings } from '../../../domain/execution/model-call.ts'
import { capabilitiesOf, toEffortOfBudget, toKnownEffort } from '../../models/model-capabilities.ts'
import type { ForeignRecord } from '../../vendor/foreign-json.ts'
import type { RequestNotes } from '../../vendor/request-notes.ts'
import type { ChatDialect } from '../dialect.ts'

/** The fields that ask for reasoning, in the words of the service and the model. */
export function toChatReasoningFields(
  wanted: NonNullable<ModelSettings['reasoning']>,
  model: string,
  dialect: ChatDialect,
  field: string,
  notes: RequestNotes,
): ForeignRecord | undefined {
  if (typeof wanted === 'object') {
    const fields = dialect.toBudgetFields?.(wanted.maxTokens, model)
    if (fields) return fields
  }
  if (wanted === 'none' && dialect.withoutReasoning) return dialect.withoutReasoning
  const word = toEffortWord(wanted, model, dialect.efforts, notes)
  return word === undefined ? undefined : (dialect.toEffortFields?.(word) ?? { [field]: word })
}

/** The effort in the words of the model, with a note if it differs from what the step asks for. */
export function toEffortWord(
  wanted: NonNullable<ModelSettings['reasoning']>,
  model: string,
  ofService: ChatDialect['efforts'],
  notes: RequestNotes,
): string | undefined {
  const effort = typeof wanted === 'object' ? toEffortOfBudget(wanted.maxTokens) : wanted
  const byService = typeof ofService === 'function' ? ofService(model) : undefined
  const taken = byService ?? capabilitiesOf(model).efforts ?? (typeof ofService === 'function' ? undefined : ofService)
  const word = taken ? toKnownEffort(effort, taken) : effort
  if (word === undefined) {
    if (effort !== 'none') notes.leaveOut('reasoning', `${model} does not accept it`)
    return undefined
  }
  const why = `${model} takes ${taken?.join(', ') ?? 'efforts'}`
  if (typeof wanted === 'object') {
    notes.replace(`reasoning.maxTokens ${wanted.maxTokens}`, `the effort "${word}"`, 'the provider bounds no reasoning in tokens')
  } else if (effort === 'none' && word !== 'none') notes.replace('reasoning "none"', `"${word}"`, why)
  else if (word !== effort) notes.add(`reasoning "${effort}" was sent as "${word}": ${why}`)
  return word
}
