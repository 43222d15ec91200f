import type { JsonSchema } from '../../domain/execution/model-call.ts'
import { recordOf } from '../vendor/foreign-json.ts'
import { toJsonValue } from './json-value.ts'
import type { SimulatedVerdict } from './scenario.ts'
import type { SimulatedRequest } from './simulated-request.ts'

export const isVerdictSchema = (schema: JsonSchema): boolean => {
  const properties = recordOf(schema.properties)
  return 'approved' in properties || 'score' in properties
}

/** Whether a request demands JSON, by a schema or in words. Critics of a single round demand neither. */
export const wantsJson = ({ schema, system, prompt }: SimulatedRequest): boolean =>
  schema !== undefined || JSON_INSTRUCTION.test(system) || JSON_INSTRUCTION.test(prompt)

const JSON_INSTRUCTION = /\b(answer|reply|respond|return|output)\b[^\n]*\bJSON\b/i

/** The verdict as JSON if the request demands it, otherwise as prose. */
export const sayVerdict = (verdict: SimulatedVerdict, request: SimulatedRequest): string =>
  wantsJson(request) ? toVerdictJson(verdict, request.schema) : toVerdictProse(verdict)

function toVerdictProse({ approved, score, issues, feedback }: SimulatedVerdict): string {
  const found = issues.length === 0 ? 'none' : `\n${issues.map((issue, index) => `${index + 1}. ${issue}`).join('\n')}`
  return `Issues: ${found}\n\nFeedback: ${feedback}\n\nApproved: ${approved ? 'yes' : 'no'}\nScore: ${score}`
}

/** The verdict as JSON in the shape of the schema. Further properties of the schema are invented. */
function toVerdictJson(verdict: SimulatedVerdict, schema: JsonSchema | undefined): string {
  const properties = recordOf(schema?.properties)
  if (!schema || Object.keys(properties).length === 0) return JSON.stringify(verdict)
  const known = Object.entries(verdict).filter(
    ([name]) => name in properties && !('properties' in recordOf(recordOf(properties[name]).items)),
  )
  return JSON.stringify({
    ...recordOf(toJsonValue(schema)),
    ...Object.fromEntries(known),
    ...scaled(verdict.score, properties.score),
  })
}

/** Scales the score to the maximum of the schema, such as 10 or 100. */
function scaled(score: number, schema: unknown): { readonly score?: number } {
  const { maximum } = recordOf(schema)
  return typeof maximum === 'number' && maximum > 1 ? { score: Math.round(score * maximum) } : {}
}
