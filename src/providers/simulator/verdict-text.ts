import type { JsonSchema } from '../../domain/model-call.ts'
import { recordOf } from '../foreign-json.ts'
import { toJsonValue } from './json-value.ts'
import type { SimulatedVerdict } from './scenario.ts'

export const isVerdictSchema = (schema: JsonSchema): boolean => {
  const properties = recordOf(schema.properties)
  return 'approved' in properties || 'score' in properties
}

/** The verdict as JSON in the shape that was asked for; what the schema wants beyond it is invented. */
export function toVerdictText(verdict: SimulatedVerdict, schema: JsonSchema | undefined): string {
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

/** A schema may want its score out of 10 or 100. */
function scaled(score: number, schema: unknown): { readonly score?: number } {
  const { maximum } = recordOf(schema)
  return typeof maximum === 'number' && maximum > 1 ? { score: Math.round(score * maximum) } : {}
}
