import { type ForeignRecord, isRecord, listOf, recordOf } from '../../vendor/foreign-json.ts'
import { saysFailure } from '../../vendor/vendor-words.ts'

/** The object of an event that reports a failure: one with an `error`, or one of the forms without it. */
export function findFailure(event: ForeignRecord, choice: ForeignRecord | undefined): ForeignRecord | undefined {
  if (event.error) return event
  if (choice?.error) return choice
  if (event.x_groq && recordOf(event.x_groq).error) return recordOf(event.x_groq)
  if (event.object === 'error' || event.type === 'error') return event
  if (event.base_resp && recordOf(event.base_resp).status_code) return event
  return choice || event.choices !== undefined || !saysFailure(event) ? undefined : event
}

/** The choice with index 0. Further candidates are ignored. */
export function findFirstChoice({ choices }: ForeignRecord): ForeignRecord | undefined {
  if (!Array.isArray(choices)) return undefined
  const [first] = choices
  if (isRecord(first) && !first.index) return first
  return choices.find((choice) => isRecord(choice) && choice.index === 0)
}

export const isTextType = (type: unknown): boolean => type === undefined || type === 'text' || type === 'output_text'

/** Azure reports per kind of content whether it was filtered, at any depth of its results. */
export function hasFiltered(results: unknown): boolean {
  if (Array.isArray(results)) return results.some(hasFiltered)
  return isRecord(results) && (results.filtered === true || Object.values(results).some(hasFiltered))
}

/** The text of a `content` field: a string, a part, or a list of parts. */
export function toContentText(content: unknown): string {
  if (typeof content === 'string') return content
  if (isRecord(content)) return typeof content.text === 'string' && isTextType(content.type) ? content.text : ''
  return listOf(content).map(toContentText).join('')
}
