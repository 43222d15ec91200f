import * as z from 'zod'

const isZodSchema = (value: unknown): value is z.ZodType => value instanceof z.ZodType

/** A schema that a definition gives for a value: a zod schema, or a JSON Schema as data. */
export const schemaField = z.union([
  z.custom<z.ZodType>(isZodSchema, 'expected a zod schema or a JSON Schema object'),
  z.record(z.string(), z.unknown()),
])
