import * as z from 'zod'
import { toStoredJsonSchema } from '../answers/output-schema.ts'
import type { JsonSchema } from '../execution/model-call.ts'
import type { FlowDefinition, FlowStep, ParseFlowDefinition } from './flow-definition.ts'

export interface StoredJson {
  /** The same text for the same definition, whatever the order of its keys. */
  readonly json: string
  /** False where only code holds the whole definition: functions, and zod schemas that no JSON Schema can say. */
  readonly isData: boolean
}

/** Stands for what cannot be stored. */
const FUNCTION_MARK = { $function: true } as const

/** A parsed definition as it is stored. Agents are already applied to it, so their names are left out: another process may not know them. */
export function toStoredJson(definition: FlowDefinition): StoredJson {
  let isData = true
  const toStored = (value: unknown): unknown => {
    if (typeof value === 'function') {
      isData = false
      return FUNCTION_MARK
    }
    if (typeof value !== 'object' || value === null) return value
    if (Array.isArray(value)) return value.map(toStored)
    return Object.fromEntries(sortedEntries(value).map(([key, member]) => [key, toStored(member)]))
  }
  const toStoredStep = ({ agent: _, outputSchema, ...step }: FlowStep): unknown => {
    if (outputSchema === undefined) return toStored(step)
    // The order of a schema's keys stays: models answer in it.
    const schema = outputSchema instanceof z.ZodType ? toStoredJsonSchema(outputSchema) : outputSchema
    if (!schema) isData = false
    return { ...Object(toStored(step)), outputSchema: schema ?? FUNCTION_MARK }
  }
  const { steps, ...rest } = definition
  const json = JSON.stringify({ ...Object(toStored(rest)), steps: steps.map(toStoredStep) })
  return { json, isData }
}

/** A stored definition that is data, parsed anew. Throws FLOW_INVALID where the rules have become stricter since. */
export const fromStoredJson = (json: string, parse: ParseFlowDefinition): FlowDefinition => parse(JSON.parse(json))

const sortedEntries = (value: object): [string, unknown][] => Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1))

/** JSON Schema of a definition as data: what only code can give (functions, zod schemas) is left out. */
export function toDefinitionJsonSchema(schema: z.ZodType): JsonSchema {
  return z.toJSONSchema(schema, {
    io: 'input',
    unrepresentable: 'any',
    override: ({ jsonSchema }) => {
      const { anyOf } = jsonSchema
      const data = anyOf?.filter((option) => Object.keys(option).length > 0)
      if (!anyOf || !data || data.length === anyOf.length) return
      delete jsonSchema.anyOf
      if (data.length === 1) Object.assign(jsonSchema, data[0])
      else if (data.length > 1) jsonSchema.anyOf = data
    },
  })
}
