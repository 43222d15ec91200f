import * as z from 'zod'
import { toStoredJsonSchema } from '../answers/output-schema.ts'
import type { JsonSchema } from '../execution/model-call.ts'
import type { FlowDefinition, FlowStep, ParseFlowDefinition } from './flow-definition.ts'

export interface StoredJson {
  /** Canonical JSON: equal for equal definitions, whatever the order of their keys. */
  readonly json: string
  /** False if the definition contains functions, or zod schemas that JSON Schema cannot express. */
  readonly isData: boolean
}

/** Replaces a function, which cannot be stored. */
const FUNCTION_MARK = { $function: true } as const

/**
 * Converts a parsed definition to its stored form. Agents are already applied, and their names, which another process
 * may not know, are left out.
 */
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
    // Schemas keep the order of their keys, because models answer in that order.
    const schema = outputSchema instanceof z.ZodType ? toStoredJsonSchema(outputSchema) : outputSchema
    if (!schema) isData = false
    return { ...Object(toStored(step)), outputSchema: schema ?? FUNCTION_MARK }
  }
  const { steps, ...rest } = definition
  const json = JSON.stringify({ ...Object(toStored(rest)), steps: steps.map(toStoredStep) })
  return { json, isData }
}

/**
 * Parses a stored definition that is data. Throws FLOW_INVALID if the rules have become stricter since it was stored.
 */
export const fromStoredJson = (json: string, parse: ParseFlowDefinition): FlowDefinition => parse(JSON.parse(json))

const sortedEntries = (value: object): [string, unknown][] => Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1))

/** JSON Schema of a definition as data, without functions and zod schemas, which only code can give. */
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
