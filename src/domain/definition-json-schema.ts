import * as z from 'zod'
import type { JsonSchema } from './model-call.ts'

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
