import * as z from 'zod'
import { toStoredJsonSchema } from '../answers/output-schema.ts'
import type { JsonSchema } from '../execution/model-call.ts'
import { registeredNameOf } from '../tools/named-functions.ts'
import { isWaitingStep } from '../waiting/waiting-steps.ts'
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
      const name = registeredNameOf(value)
      if (name !== undefined) return { function: name }
      isData = false
      return FUNCTION_MARK
    }
    if (typeof value !== 'object' || value === null) return value
    if (Array.isArray(value)) return value.map(toStored)
    return Object.fromEntries(sortedEntries(value).map(([key, member]) => [key, toStored(member)]))
  }
  // Schemas keep the order of their keys, because models answer in that order.
  const toStoredSchema = (given: z.ZodType | JsonSchema): JsonSchema => {
    const schema = given instanceof z.ZodType ? toStoredJsonSchema(given) : given
    if (!schema) isData = false
    return schema ?? FUNCTION_MARK
  }
  const toStoredStep = ({ agent: _, needs: __, outputSchema, approval, ...step }: FlowStep): unknown => {
    const { provider, model, fallbacks, ...waiting } = step
    const stored = Object(toStored(isWaitingStep(step) ? waiting : step))
    if (outputSchema) stored.outputSchema = toStoredSchema(outputSchema)
    if (approval) stored.approval = toStored({ ...approval, schema: undefined })
    if (approval?.schema) stored.approval.schema = toStoredSchema(approval.schema)
    return stored
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
