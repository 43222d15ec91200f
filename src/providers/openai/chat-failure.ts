import { toVendorWords } from '../vendor/vendor-words.ts'

/**
 * Generated text that a vendor returns as an error although it is valid JSON: Groq's `failed_generation` of
 * `json_validate_failed` (console.groq.com/docs/structured-outputs, 2026-11). Undefined for text that is not JSON,
 * which is better retried.
 */
export function toUsableGeneration(body: unknown): string | undefined {
  const { failedGeneration, kinds } = toVendorWords(body)
  if (failedGeneration === undefined || !kinds.includes('json_validate_failed')) return undefined
  const json = failedGeneration.trim().replace(/^```(?:json)?\s*([\s\S]*?)\s*```$/, '$1')
  try {
    JSON.parse(json)
    return json
  } catch {
    return undefined
  }
}
