import { toVendorWords } from '../vendor/vendor-words.ts'

/**
 * Text of the model that a vendor answers with an error although it can be read: Groq's `failed_generation` of `json_validate_failed`
 * (console.groq.com/docs/structured-outputs, 2026-11). Undefined where it is no JSON: then a further try is better.
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
